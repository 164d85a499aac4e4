"""Requests that wait for their turn, over real sockets."""

import asyncio
import socket
import struct
from itertools import pairwise

import pytest

import mapper.http.turns as turns_module
from mapper.http.turns import PER_TURN
from tests.mapper.http.test_server import GET, POST, play, until

HEALTH = b"GET /health HTTP/1.1\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\n\r\n"


class Gate:
    """Lets as many requests come as it is told."""

    def __init__(self, limit=0):
        self.limit = limit
        self.scopes = []

    @property
    def room(self):
        return self.limit - sum(scope["path"] == "/held" for scope in self.scopes)

    def of(self, beginning):
        return self if b"/held" in beginning else None


@pytest.fixture
def long_hold(monkeypatch):
    monkeypatch.setattr(turns_module, "HOLD_S", 60.0)


def paths(scene):
    return [scope["path"] for scope in scene.app.scopes]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_crowd_begins_a_few_at_a_time_and_health_before_it(loop):
    """All at once, none of them would be in the processor's cache when it is answered."""
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def scenario(scene):
        clients = [await scene.connect() for _ in range(10 * PER_TURN)]
        last = await scene.connect()
        await until(lambda: len(scene.connections) == len(clients) + 1)
        for client in clients:
            client.send(GET)
        last.send(HEALTH)
        begun = [0]
        while begun[-1] <= len(clients):
            await asyncio.sleep(0)
            begun.append(len(scene.app.scopes))

        assert max(after - before for before, after in pairwise(begun)) <= PER_TURN + 1
        assert paths(scene).index("/health") <= PER_TURN + 1
        for client in clients:
            assert (await client.answer())[0] == 200

    play(scenario, max_connections=1000, loop_factory=factory)


def test_requests_wait_in_their_order_for_room_in_the_application(long_hold):
    gate = Gate(3)

    async def scenario(scene):
        gate.scopes = scene.app.scopes
        scene.app.go_on.clear()
        clients = [await scene.connect() for _ in range(9)]
        await until(lambda: len(scene.connections) == 9)
        for number, client in enumerate(clients):
            client.send(b"GET /held?%d HTTP/1.1\r\n\r\n" % number)
        await until(lambda: scene.app.scopes)
        assert (await scene.ask(HEALTH))[0] == 200
        other = await scene.connect(GET)
        await until(lambda: "/a" in paths(scene))
        assert paths(scene).count("/held") == 3

        gate.limit = 9
        scene.app.go_on.set()
        for client in (*clients, other):
            assert (await client.answer())[0] == 200
        asked = [scope["query_string"] for scope in scene.app.scopes if scope["path"] == "/held"]
        assert asked == [b"%d" % number for number in range(9)]

    play(scenario, gate_of=gate.of)


def test_what_is_held_for_long_begins_all_the_same(monkeypatch):
    monkeypatch.setattr(turns_module, "HOLD_S", 0.05)

    async def scenario(scene):
        assert (await scene.ask(HELD))[0] == 200

    play(scenario, gate_of=Gate().of)


def test_what_is_held_is_answered_when_the_server_stops(long_hold):
    async def scenario(scene):
        held = [await scene.connect(HELD) for _ in range(3)]
        await until(lambda: sum(bool(connection.held) for connection in scene.connections) == 3)
        scene.server.should_exit = True
        for client in held:
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (200, "close")

    play(scenario, gate_of=Gate().of)


def test_a_connection_whose_request_waits_is_not_silent(long_hold, monkeypatch):
    monkeypatch.setattr("mapper.http.connection.IDLE_TIMEOUT_S", 0.1)
    monkeypatch.setattr("mapper.http.server.SWEEP_S", 0.05)
    gate = Gate()

    async def scenario(scene):
        gate.scopes = scene.app.scopes
        held = [await scene.connect(HELD) for _ in range(4)]
        await until(lambda: sum(bool(connection.held) for connection in scene.connections) == 4)
        silent = await scene.connect()
        assert (await scene.ask(GET))[0] == 200
        assert await silent.end() == b""

        gate.limit = 4
        assert (await scene.ask(GET))[0] == 200
        for client in held:
            assert (await client.answer())[0] == 200

    play(scenario, max_connections=5, gate_of=gate.of)


def test_who_goes_while_it_waits_is_not_asked_for_and_who_only_ends_its_direction_is(long_hold):
    gate = Gate()

    async def scenario(scene):
        gone, ended = [await scene.connect(HELD) for _ in range(2)]
        await until(lambda: sum(bool(connection.held) for connection in scene.connections) == 2)
        linger = struct.pack("ii", 1, 0)  # the server hears of it at once
        gone.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        gone.vanish()
        ended.writer.write_eof()
        await until(lambda: [connection.is_half_closed for connection in scene.connections] == [True])

        gate.limit = 2
        assert (await scene.ask(GET))[0] == 200
        assert (await ended.answer())[0] == 200
        assert await ended.end() == b""
        assert paths(scene) == ["/a", "/held"]

    play(scenario, gate_of=gate.of)


def test_a_crowd_that_has_gone_does_not_keep_the_others_waiting(long_hold):
    """Clients that give up and ask again would find a server that works for those that gave up."""
    gate = Gate()

    async def scenario(scene):
        gone = [await scene.connect(b"GET /held?gone HTTP/1.1\r\n\r\n") for _ in range(2 * PER_TURN)]
        for client in gone:
            client.writer.write_eof()
        await until(lambda: sum(connection.is_half_closed for connection in scene.connections) == len(gone))
        live = [await scene.connect(b"GET /held?live HTTP/1.1\r\n\r\n") for _ in range(5)]
        await until(lambda: sum(bool(connection.held) for connection in scene.connections) == len(gone) + 5)

        gate.limit = 1000
        assert (await scene.ask(GET))[0] == 200
        for client in live:
            assert (await client.answer())[0] == 200
        for client in gone:
            assert (await client.answer())[0] == 200
        asked = [scope["query_string"] for scope in scene.app.scopes]
        assert max(number for number, name in enumerate(asked) if name == b"live") < 2 * 5 + 2

    play(scenario, gate_of=gate.of)


def test_who_has_gone_while_it_waited_makes_room_for_others(long_hold, monkeypatch):
    monkeypatch.setattr("mapper.http.connection.STALLED_S", 0.05)
    gate = Gate()

    async def scenario(scene):
        gone = [await scene.connect(HELD) for _ in range(5)]
        for client in gone:
            client.writer.write_eof()
        await until(lambda: sum(connection.is_half_closed for connection in scene.connections) == 5)
        assert (await scene.ask(GET))[0] == 200

    play(scenario, max_connections=5, gate_of=gate.of)


def test_a_large_body_that_waits_takes_little_memory_and_arrives_whole(long_hold):
    gate = Gate()
    body = bytes(ord("a") + i % 26 for i in range(900_000))

    async def scenario(scene):
        client = await scene.connect(POST.replace(b"/a", b"/held") + b"Content-Length: 900000\r\n\r\n")
        await until(lambda: any(connection.held for connection in scene.connections))
        client.send(body)
        for _ in range(20):
            assert (await scene.ask(GET))[0] == 200
        (held,) = [len(connection.held) for connection in scene.connections if connection.held]
        assert held < 600_000

        gate.limit = 1
        assert (await scene.ask(GET))[0] == 200
        assert (await client.answer())[2]["body"] == body.decode()

    play(scenario, gate_of=gate.of)
