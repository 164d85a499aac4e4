"""Connections for which there is no place, over real sockets."""

import asyncio
import socket

import pytest

import mapper.http.entrance as entrance_module
import mapper.http.server as server_module
from mapper.http.entrance import BURST
from mapper.http.refusals import Pace, Tally
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


def test_silent_connections_are_looked_for_now_and_then_if_there_are_none(monkeypatch):
    """With thousands of connections, a look at all of them on each tick takes a tenth of the time."""
    monkeypatch.setattr(entrance_module, "WAIT_S", 60.0)
    monkeypatch.setattr(entrance_module, "LOOK_AGAIN_S", 10.0)
    calls = []

    async def scenario(scene):
        scene.app.go_on.clear()
        busy = await scene.connect(GET)
        await until(lambda: scene.app.scopes)

        def counted(name):  # `n_answered` is asked on each tick
            own = getattr(scene.server, name)
            monkeypatch.setattr(scene.server, name, lambda *args: calls.append(name) or own(*args))

        counted("make_room")
        counted("n_answered")
        waiting = await scene.connect(GET)
        await until(lambda: calls.count("n_answered") == 10)
        assert calls.count("make_room") == 1

        busy.vanish()
        scene.app.go_on.set()
        assert (await waiting.answer())[0] == 200

    play(scenario, max_connections=1)


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


def test_a_system_that_gives_no_more_files_is_asked_again_and_told_of_once(monkeypatch, caplog):
    accept = socket.socket.accept
    failures = [OSError(24, "Too many open files")] * 5

    def failing(listener):
        if failures:
            raise failures.pop()
        return accept(listener)

    async def scenario(scene):
        monkeypatch.setattr(socket.socket, "accept", failing)
        assert (await scene.ask(GET))[0] == 200
        assert not failures

    play(scenario)
    assert caplog.text.count("Too many open files") == 1


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


def test_refusals_wait_for_answers_in_their_order(monkeypatch):
    monkeypatch.setattr("mapper.http.refusals.LEAST_PER_S", 0.001)
    refused = []

    async def refuse(pace, number):
        await pace.turn()
        refused.append(number)

    async def run():
        pace = Pace()
        tasks = [asyncio.create_task(refuse(pace, number)) for number in range(int(BURST) + 10)]
        await asyncio.sleep(0)
        assert len(refused) == BURST
        tasks[int(BURST)].cancel()
        for _ in range(52):
            pace.answered()
        await until(lambda: len(refused) == BURST + 5)
        assert refused[-1] == BURST + 5
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_nobody_waits_long_for_a_refusal(monkeypatch):
    monkeypatch.setattr("mapper.http.refusals.MAX_WAIT_S", 0.1)

    async def run():
        pace = Pace()
        async with asyncio.timeout(30):
            await asyncio.gather(*(pace.turn() for _ in range(5000)))

    asyncio.run(run())


def test_refusals_go_on_where_nothing_is_answered():
    async def run():
        pace = Pace()
        for _ in range(int(BURST) + 5):
            await pace.turn()

    asyncio.run(run())


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
