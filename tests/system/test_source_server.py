"""`python -m proto_model source serve` for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.terminal import START_S

pytestmark = pytest.mark.system

SOURCE = """
import os, time

def begin():
    global factor
    factor = int(open("factor.txt").read())
    print("begun in", os.getpid())

def action(x):
    if x.get("do") == "hang":
        time.sleep(100)
    if x.get("do") == "exit":
        os._exit(3)
    if x.get("do") == "two":
        yield 1
    yield {"y": factor * x["n"]}
"""

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ask, subprocess.Popen]]:
    """A server of the source: how to ask it, and its process."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "model.py").write_text(SOURCE)
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("factor.txt", "3")
    port = free_port()
    command = [
        "source",
        "serve",
        "model.py",
        "--attachment",
        "model.zip",
        "--port",
        str(port),
        "--timeout",
        "2",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "proto_model", *command], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )

    def ask(
        body: Any, path: str = "/score", kind: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", data, {"Content-Type": kind} | headers
        )
        try:
            with urllib.request.urlopen(request, timeout=START_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                ask(None, "/ping")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        yield ask, process
    finally:
        process.kill()
        process.wait()


def test_a_record_and_several_are_answered(server):
    ask, _ = server

    assert ask({"n": 2}) == (200, {"y": 6})
    assert ask([{"n": 2}, {"n": 0.5}], "/") == (200, [{"y": 6}, {"y": 1.5}])
    assert ask([], "/invocations") == (200, [])
    assert ask({"n": 1, "do": "two"}) == (200, [1, {"y": 3}])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"m": 1}, 400, "action raised KeyError in line 16: 'n'"),
        ([{"n": 1}, {"n": None}], 400, "record 1, counted from 0: action raised TypeError"),
        (b"{", 400, "The body is not JSON"),
        (b'{"n": NaN}', 400, "NaN is no number in JSON"),
        (b"[" * 100_000, 400, "The body is not JSON"),
        ([{}] * 10_001, 413, "at most 10,000"),
        (b" " * (17 << 20), 413, "larger than"),
    ],
)
def test_what_is_refused_is_told(server, body, status, said):
    ask, _ = server

    got, answer = ask(body)

    assert (got, said in answer["error"]) == (status, True), answer


def test_other_requests_are_refused_as_everywhere(server):
    ask, _ = server

    assert ask({"n": 1}, kind="text/plain")[0] == 415
    assert ask({"n": 1}, "/nothing")[0] == 404
    assert ask(None, "/score")[0] == 405
    assert ask({"n": 1}, Host="example.com")[0] == 421
    assert ask(None, "/v1/source")[1]["functions"] == {"init": "begin", "score": "action"}


def test_a_source_that_ends_or_hangs_is_started_again(server):
    ask, _ = server

    assert ask({"do": "exit"}) == (500, {"error": "The source ended its process with exit status 3."})
    assert ask({"n": 1}) == (200, {"y": 3})
    status, answer = ask({"do": "hang"})
    assert (status, answer["error"][:38]) == (504, "The source did not answer within 2 s a")
    assert ask({"n": 1}) == (200, {"y": 3})


def test_the_source_ends_with_the_server(server):
    _, process = server
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    children = [int(pid) for pid in Path(path).read_text().split()] if os.path.exists(path) else []

    process.send_signal(signal.SIGTERM)

    assert process.wait(START_S) in (0, -signal.SIGTERM)
    assert [pid for pid in children if os.path.exists(f"/proc/{pid}")] == []
