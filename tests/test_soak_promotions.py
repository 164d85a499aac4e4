"""The soak of following finds what it looks for: whose answer it is, which errors a kill explains, growth."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import subprocess
import sys
from typing import Any

import pytest

from scripts.soak import workers
from scripts.soak.asking import Ask, Client, Line, Plain, Seen, asks
from scripts.soak.growth import Look, lives, slope
from scripts.soak.record import Record
from scripts.soak.registry import Registry
from scripts.soak.swaps import Move, swaps_seen, times_seen
from scripts.soak.wire import HOST, Reply
from scripts.soak.workers import Kill

ONE = {"prediction": "a", "probability": 0.7, "probability_a": 0.7, "probability_b": 0.3}
TWO = {"prediction": "b", "probability": 0.6, "probability_a": 0.4, "probability_b": 0.6}
RECORDS: list[dict[str, Any]] = [{"x": 0.0}, {"x": 1.0}]
REGISTRY = Registry("sqlite:///", ["x"], RECORDS, {"1": [ONE, ONE], "2": [TWO, TWO]})
KILL = Kill("rows", 7, frozenset({5001}), frozenset({5002}), 10.0, 10.1)


def client(protocol: Any = "invocations", explain: bool = False, port: int = 0) -> Client:
    return Client(Ask(protocol, explain), REGISTRY, port, Record(), Seen(), 0)


def read(content: Any, version: str = "1", **options: Any) -> str:
    reply = Reply(200, {"x-model-version": version}, json.dumps(content).encode())
    return client(**options)._read(reply, [0, 1][: 1 if options else 2], "me")[1]


def test_an_answer_is_right_if_all_of_it_is_that_of_the_version_it_names() -> None:
    assert read({"predictions": [ONE, ONE]}) == ""
    assert read({"predictions": [TWO, TWO]}, "2") == ""
    assert "of version 1: the answer is that of version 2" in read({"predictions": [TWO, TWO]})
    assert "the answer is no version's" in read({"predictions": [ONE, TWO]})
    assert "of version 3" in read({"predictions": [ONE, ONE]}, "3")
    assert "unreadable" in read({})


def test_an_explanation_is_of_the_version_that_answers() -> None:
    def explained(of: dict[str, Any]) -> Any:
        why = {"prediction": of["prediction"], "probability": of["probability"], "rule": {"text": "x > 0"}}
        return {"predictions": [{**ONE, "explanation": why}]}

    assert read(explained(ONE), explain=True) == ""
    assert "version 1 answers [('a', 0.7)], and explains [('b', 0.6)]" in read(explained(TWO), explain=True)


def test_the_version_in_a_v2_answer_is_that_of_its_header() -> None:
    outputs = [{"name": name, "data": [value]} for name, value in ONE.items()]
    content = {"id": "me", "model_version": "1", "outputs": outputs}

    assert read(content, protocol="v2") == ""
    assert "unreadable" in read({**content, "model_version": "2"}, protocol="v2")


def test_sixteen_clients_ask_in_every_protocol_and_one_of_them_why() -> None:
    assert [ask.protocol for ask in asks(16)].count("v2") == 5
    assert [ask.actor for ask in asks(64) if ask.explain] == [
        "invocations, explained",
        "mapper, explained",
    ] * 2
    assert asks(3)[-1].explain


@pytest.mark.parametrize(
    ("port", "opened", "failed", "is_taken"),
    [
        (5001, (1.0, 1.1), 10.2, True),  # its own
        (5001, (1.0, 1.1), 9.0, False),  # failed before
        (5001, (11.0, 11.1), 12.0, False),  # another one, later, with the same port
        (5002, (9.9, 10.0), 10.2, True),  # nobody had accepted it
        (5003, (1.0, 1.1), 10.2, False),  # another worker's
        (5003, (10.05, 10.06), 10.2, True),  # came while the worker stood still
        (None, (10.05, math.inf), 10.2, True),
        (None, (10.2, math.inf), 10.3, False),
    ],
)
def test_a_kill_explains_what_happens_to_connections_of_its_worker(
    port: int | None, opened: tuple[float, float], failed: float, is_taken: bool
) -> None:
    assert KILL.took(port, opened, failed) is is_taken


ACCEPTS = """
import socket, time
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    accepted, _ = listener.accept()
    print("accepted", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_known_whose_connections_a_killed_worker_had() -> None:
    with subprocess.Popen([sys.executable, "-c", ACCEPTS], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with socket.create_connection((HOST, port)) as held:
            assert server.stdout.readline() == "accepted\n"
            with socket.create_connection((HOST, port)) as queued:
                kills: list[Kill] = []
                workers.kill("rows", server.pid, port, kills)

                [killed] = kills
                assert killed.held == {held.getsockname()[1]}
                assert killed.queued == {queued.getsockname()[1]}
        assert server.wait() == -9


def test_a_connection_that_ends_without_a_kill_is_an_error_that_nobody_expected() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def ask(kills: bool) -> Record:
        server = await asyncio.start_server(hang_up, HOST, 0)
        async with server:
            one = client(explain=True, port=server.sockets[0].getsockname()[1])
            line = Line(one._port)
            await line.open()
            if kills:
                assert line.port is not None
                one._seen.kills.append(Kill("rows", 7, frozenset({line.port}), frozenset(), 0.0, math.inf))
            await one._one(line, "me")
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
            return one._record

    assert sum(asyncio.run(ask(kills=False)).unexpected.values()) == 1
    record = asyncio.run(ask(kills=True))
    assert not record.unexpected
    assert [cause for _, _, cause in record.expected] == [
        "SIGKILL of a worker, rows: sent before its client saw the end"
    ]


def test_growth_shows_through_what_goes_up_and_down_with_each_swap() -> None:
    ages = [2.0 * i for i in range(300)]

    def values(per_s: float) -> list[float]:
        warming = [30 * math.exp(-age / 10) for age in ages]  # MiB, at the beginning
        return [100 - warm + (age % 5) + per_s * age for age, warm in zip(ages, warming, strict=True)]

    flat, growing = slope(ages, values(0), 20), slope(ages, values(0.01), 20)

    assert flat is not None
    assert growing is not None
    assert abs(flat.per_hour) < 0.2
    assert flat.low < 0 < flat.high
    assert growing.low == pytest.approx(36, abs=2)
    assert slope(ages[:20], values(0)[:20], 20) is None


def test_a_process_that_grows_is_told_from_one_that_does_not() -> None:
    def looks(pid: int, per_s: float) -> list[Look]:
        return [
            Look("rows worker", pid, age, int(1e8 + 1e6 * per_s * age), 1 << 26, 30)
            for age in map(float, range(0, 600, 2))
        ]

    rows = lives([*looks(1, 0), *looks(2, 0.02)], 20)

    assert [row["flat"] for row in rows] == [True, False]
    assert rows[0]["pss_mib_median"] == 64


def test_times_are_told_apart_by_what_happened_to_the_version() -> None:
    moves = [Move(10.0, "2"), Move(20.0, "1")]
    begins = {9.0: "1", 10.5: "1", 11.0: "2", 11.5: "2", 15.0: "2", 20.5: "2", 22.0: "1"}
    plain = [Plain("rows", begin, 0.001, version) for begin, version in begins.items()]

    found = {row["phase"]: row["requests"] for row in times_seen(moves, plain)}
    seen = swaps_seen(moves, [(one.begin, one.begin + one.seconds, one.version) for one in plain])

    # The first answer of a version still began before its swap was known.
    assert found == {"between promotion and swap": 4, "within 1 s after the swap": 1, "otherwise": 2}
    assert seen == {
        "promotions": 2,
        "answered": 2,
        "first_answer_s": [1.5, 2.0],
        "last_old_answer_s": [0.5, 0.5],
    }
