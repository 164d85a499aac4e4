"""Connections for which there is no place, over real sockets."""

import asyncio
import socket

import pytest

import mapper.http.entrance as entrance_module
import mapper.http.server as server_module
from mapper.http.refusals import BURST, Pace, Tally
from tests.mapper.http.test_server import GET, play, until

HEALTH = b"GET /health HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_that_have_come_are_accepted_in_one_turn_of_the_loop(loop):
    """uvloop accepts one per turn: behind 1,000 busy clients, health waited for as many turns."""
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def scenario(scene):
        first = await scene.connect(HEALTH)
        await first.answer()
        clients = [socket.create_connection(first.writer.get_extra_info("peername")) for _ in range(60)]
        turns = 0
        while len(scene.connections) < 61:
            await asyncio.sleep(0)
            turns += 1
            assert turns < 30
        for client in clients:
            client.close()

    play(scenario, loop_factory=factory)


def test_a_connection_waits_for_a_place(monkeypatch):
    monkeypatch.setattr(entrance_module, "WAIT_S", 60.0)

    async def scenario(scene):
        scene.app.go_on.clear()
        busy = [await scene.connect(GET) for _ in range(2)]
        await until(lambda: len(scene.app.scopes) == 2)
        waiting = [await scene.connect(GET) for _ in range(5)]
        assert (await scene.ask(HEALTH))[0] == 200
        assert len(scene.app.scopes) == 3

        for client in busy:
            client.vanish()
        scene.app.go_on.set()
        for client in waiting:
            assert (await client.answer())[0] == 200
            client.vanish()

    play(scenario, max_connections=2)


def test_who_has_waited_for_long_is_refused_whatever_it_sends():
    async def scenario(scene):
        scene.app.go_on.clear()
        busy = [await scene.connect(GET) for _ in range(2)]
        await until(lambda: len(scene.app.scopes) == 2)
        body = b"POST /a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000
        refused = [await scene.connect(GET if n % 2 else body) for n in range(20)]
        for client in refused:
            status, headers, told = await client.answer()
            assert (status, headers["connection"], told) == (503, "close", {"detail": "later"})
            assert await client.end() == b""
        assert len(scene.app.scopes) == 2

        scene.app.go_on.set()
        for client in busy:
            assert (await client.answer())[0] == 200

    play(scenario, max_connections=2)


@pytest.mark.parametrize("beginning", [b"", b"GET /a HT"])
def test_a_burst_of_connections_that_ask_nothing_turns_nobody_away(beginning, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_WAITING", 50)

    async def scenario(scene):
        first = await scene.connect(HEALTH)
        await first.answer()
        address = first.writer.get_extra_info("peername")
        crowd = [socket.create_connection(address) for _ in range(300)]
        for client in crowd:
            client.send(beginning)

        for _ in range(3):
            assert (await scene.ask(GET))[0] == 200
        assert len(scene.connections) <= 10
        for client in crowd:
            client.close()

    play(scenario, max_connections=10)


def test_those_that_wait_are_answered_when_the_server_stops(monkeypatch):
    monkeypatch.setattr(entrance_module, "WAIT_S", 60.0)

    async def scenario(scene):
        scene.app.go_on.clear()
        clients = [await scene.connect(GET) for _ in range(2)]
        await until(lambda: len(scene.app.scopes) == 2)
        clients += [await scene.connect(GET) for _ in range(5)]
        scene.server.should_exit = True
        await until(lambda: len(scene.app.scopes) == 7)
        scene.app.go_on.set()
        for client in clients:
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (200, "close")

    play(scenario, max_connections=2)


def test_refusals_have_a_pace(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    async def run():
        monkeypatch.setattr(asyncio, "sleep", sleep)
        pace = Pace(per_s=1)
        for _ in range(BURST + 10):
            await pace.turn()

    asyncio.run(run())

    assert len(waits) == 10
    assert waits == sorted(waits)
    assert 9 < waits[-1] <= 10


def test_the_log_has_one_line_for_many_refusals(monkeypatch, caplog):
    monkeypatch.setattr("mapper.http.refusals.EVERY_S", 0.05)

    async def run():
        tally = Tally()
        for n in range(1000):
            tally.add("route=/a status=503" if n % 4 else "route=/b status=503")
        await until(lambda: len(caplog.messages) == 2)

    asyncio.run(run())

    assert caplog.messages[0].startswith("route=/b status=503. ")
    assert "route=/a status=503: 750, route=/b status=503: 249" in caplog.messages[1]
