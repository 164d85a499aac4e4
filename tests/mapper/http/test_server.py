"""uvicorn with our protections, over real sockets, in front of an application that says what it was asked.

The model's side has the same file: what holds here holds there.
"""

import asyncio
import json
import socket
import tracemalloc
from pathlib import Path

import pytest

import mapper.http
import mapper.http.connection as connection_module
import mapper.http.server as server_module
import proto_model.serving.http
from mapper.http.connection import ClientGoneError, GuardedConfig, Limits, RefusedError, read_body
from mapper.http.hosts import Hosts
from mapper.http.server import GuardedServer, beside, bind

POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\n"
BODY = b"Content-Length: 5\r\n\r\nhello"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\n\r\n"
MAX_BODY_BYTES = 1_000_000
ENDLESS = b"x" * 100_000
TURNED_AWAY = (
    b'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\nconnection: close\r\n\r\n{"detail": "later"}'
)


@pytest.mark.parametrize(
    "name",
    [
        "access.py",
        "alive.py",
        "certificates.py",
        "connection.py",
        "entrance.py",
        "expiry.py",
        "health.py",
        "hosts.py",
        "refusals.py",
        "server.py",
        "turns.py",
    ],
)
def test_both_sides_have_the_same_server(name):
    here, there = (Path(package.__file__).parent for package in (mapper.http, proto_model.serving.http))
    assert (here / name).read_bytes() == (there / name).read_bytes()


class App:
    """Says what it was asked; not before `go_on` is set, when that was cleared. "/early" answers at once."""

    def __init__(self):
        self.scopes = []
        self.gone = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.more_bytes = 0

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        told = {"method": scope["method"], "path": scope["path"]}
        status, headers = 200, []
        try:
            if "fault" in scope and scope["path"] != "/health":
                raise RefusedError(*scope["fault"])
            if scope["path"] == "/early":
                headers = [(b"connection", b"close")]
            elif scope["path"] == "/health":
                pass
            else:
                told["body"] = (await read_body(scope, receive, MAX_BODY_BYTES)).decode()
                await self.go_on.wait()
        except RefusedError as error:
            status, told["detail"] = error.status, str(error)
            headers = [(b"connection", b"close")]
        except ClientGoneError:
            self.gone += 1
            return
        content = json.dumps(told).encode() + b" " * self.more_bytes
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Client:
    """One end of a connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, wire):
        self.writer.write(wire)

    async def answer(self, has_body=True):
        """Status, headers and content of the next answer."""
        async with asyncio.timeout(30):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers["content-length"])) if has_body else b"null"
            return int(first.split()[1]), headers, json.loads(body)

    async def end(self):
        """Whatever else comes until the connection is closed from the other end."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def vanish(self):
        self.writer.transport.abort()


class Scene:
    """A server in front of the application."""

    def __init__(self, server, app, address):
        self.server = server
        self.app = app
        self.address = address
        self.clients = []

    @property
    def connections(self):
        return self.server.server_state.connections

    async def connect(self, wire=b"", ssl=None):
        client = Client(*await asyncio.open_connection(*self.address, ssl=ssl))
        self.clients.append(client)
        client.send(wire)
        return client

    async def ask(self, wire):
        client = await self.connect(wire)
        return await client.answer()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def play(
    scenario,
    max_connections=100,
    request_timeout_s=30.0,
    drain_timeout_s=20.0,
    loop_factory=None,
    hosts=None,
    max_bodies_bytes=10**9,
    access=None,
    tls=None,
    gate_of=lambda beginning: None,
):
    """Run a coroutine function that is given a scene; in the end nobody may be left."""

    async def run():
        app = App()
        limits = Limits(
            max_connections,
            request_timeout_s,
            drain_timeout_s,
            hosts,
            max_bodies_bytes,
            ("/health",),
            lambda: TURNED_AWAY,
            access=access,
            tls=tls,
            gate_of=gate_of,
        )
        config = GuardedConfig(app, limits)
        config.load()
        server = GuardedServer(config, lambda: None, None)
        with bind("127.0.0.1", 0, shared=False) as listener:
            serving = asyncio.create_task(server._serve([listener]))
            await until(lambda: server.started)
            scene = Scene(server, app, listener.getsockname())
            try:
                await scenario(scene)
            finally:
                app.go_on.set()
                for client in scene.clients:
                    client.vanish()
                server.should_exit = True
                await serving
        assert not scene.connections
        assert config.reserved_bytes == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@pytest.fixture
def short_times(monkeypatch):
    monkeypatch.setattr(connection_module, "IDLE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(server_module, "SWEEP_S", 0.05)


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
@pytest.mark.parametrize(
    "wire",
    [
        POST + BODY,
        b"\r\n\r\n" + POST + b"content-LENGTH:  5 \r\n\r\nhello",
        CHUNKED + b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        b"POST http://proxied/a HTTP/1.1\r\nHost: x\r\n" + BODY,
        b"POST /%61 HTTP/1.1\r\nHost: x\r\n" + BODY,
        POST + UPGRADE + BODY,
        POST + b"Content-Type: a/b\r\nContent-Type: a/b\r\n" + BODY,
        CHUNKED[:-2] + UPGRADE + b"\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        POST + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nhello",
    ],
)
def test_requests_are_read_however_they_are_written_and_cut(wire, size):
    async def scenario(scene):
        client = await scene.connect()
        for _ in range(2):
            for start in range(0, len(wire), size):
                client.send(wire[start : start + size])
                await asyncio.sleep(0)
            status, headers, told = await client.answer()

            assert (status, told) == (200, {"method": "POST", "path": "/a", "body": "hello"})
            assert headers["date"].endswith(" GMT")

    play(scenario)


@pytest.mark.parametrize("upgrade", [b"", UPGRADE])
@pytest.mark.parametrize("n_bytes", [5000, 900_000])
def test_large_bodies_arrive_whole(n_bytes, upgrade):
    async def scenario(scene):
        body = bytes(ord("a") + i % 26 for i in range(n_bytes))
        client = await scene.connect(POST + upgrade + b"Content-Length: %d\r\n\r\n" % n_bytes + body + GET)
        assert (await client.answer())[2]["body"] == body.decode()
        assert (await client.answer())[2]["method"] == "GET"
        client.send(CHUNKED + b"%x\r\n" % n_bytes + body + b"\r\n0\r\n\r\n" + GET)
        assert (await client.answer())[2]["body"] == body.decode()
        assert (await client.answer())[2]["method"] == "GET"

    play(scenario)


def test_requests_sent_ahead_are_answered_in_order():
    async def scenario(scene):
        scene.app.go_on.clear()
        client = await scene.connect(
            b"".join(b"POST /%d HTTP/1.1\r\n%b" % (i, BODY) for i in range(500)) + b"nonsense\r\n"
        )
        await until(lambda: scene.app.scopes)
        scene.app.go_on.set()

        assert [(await client.answer())[2]["path"] for _ in range(500)] == [f"/{i}" for i in range(500)]
        assert (await client.answer())[0] == 400
        assert await client.end() == b""

    play(scenario)


def test_many_requests_sent_ahead_may_offer_another_protocol(caplog):
    async def scenario(scene):
        client = await scene.connect((b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n") * 2000)
        for _ in range(2000):
            assert (await client.answer())[2]["path"] == "/a"

    play(scenario)
    assert not caplog.text


def test_a_client_that_sends_ahead_and_never_reads_takes_little_memory_and_holds_up_nobody():
    async def scenario(scene):
        await scene.ask(GET)
        tracemalloc.start()
        try:
            clients = [await scene.connect() for _ in range(3)]
            for client in clients:
                client.reader._transport.pause_reading()
            before, _ = tracemalloc.get_traced_memory()
            flood = GET * 50_000
            for client in clients:
                client.send(flood)
            await until(lambda: len(scene.app.scopes) > 3000)
            for _ in range(20):
                assert (await scene.ask(GET))[0] == 200
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        held = sum(len(connection.held) for connection in scene.connections)
        queued = sum(len(connection.pipeline) for connection in scene.connections)
        assert held < 3 * 300_000  # one read each
        assert queued < 3 * 150  # what fits into a slice
        scopes = 3000 * len(scene.app.scopes)  # remembered by this test
        assert after - before < scopes + 3 * (len(flood) + 2_000_000)

    play(scenario)


@pytest.mark.parametrize(
    ("wire", "told", "stays"),
    [
        (GET, None, True),
        (b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "close", False),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\nwhatever", "close", False),
    ],
)
def test_a_connection_is_kept_as_the_client_asks(wire, told, stays):
    async def scenario(scene):
        client = await scene.connect(wire)
        assert (await client.answer())[1].get("connection") == told
        if stays:
            client.send(wire)
            assert (await client.answer())[0] == 200
        else:
            client.writer.write_eof()
            assert await client.end() == b""

    play(scenario)


def test_head_gets_the_headers_of_get_and_no_body():
    async def scenario(scene):
        client = await scene.connect(b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")

        assert int((await client.answer(has_body=False))[1]["content-length"]) > 0
        assert (await client.answer())[2]["path"] == "/b"

    play(scenario)


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on():
    async def scenario(scene):
        client = await scene.connect(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert (await client.answer())[2]["body"] == "hello"

        client = await scene.connect(POST + b"Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
        assert (await client.answer())[0] == 413

    play(scenario)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\na: \x00\r\n\r\n", 400),
        (b"GET /a\x01b HTTP/1.1\r\n\r\n", 400),
        (POST + b"Content-Length: many\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (CHUNKED + b"zz\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (POST + b"Content-Type: a/b\r\ncontent-type: a/c\r\n" + BODY, 400),
        (POST + b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n" + BODY, 400),
        (b"GET /a HTTP/1.1\r\na\x00b: c\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\na: b\r\n c\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\na: b\n\n", 400),
        (b"GET a:80 HTTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/0.9\r\n\r\n", 505),
        (b"GET /a HTTP/2.0\r\n\r\n", 505),
        (b"GET /a HTTP/3.7\r\n\r\n", 400),
        (b"GET /a RTSP/1.0\r\n\r\n", 400),
        (b"GET /a RTSP/1.1\r\nCSeq: 1\r\n\r\n", 400),
        (POST + b"Content-Length: +5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5\nhello\n0\n\n", 400),
        (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", 400),
        (CHUNKED + b"10000000000000005\r\nhello\r\n", 400),
        (CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET /" + ENDLESS, 431),
        (b"GET /a HTTP/1.1\r\na: " + ENDLESS, 431),
        (b"GET /a HTTP/1.1\r\na: " + ENDLESS + b"\r\n\r\n", 431),
        (b"GET /a HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", 431),
        (CHUNKED + b"5;" + ENDLESS, 431),
        (CHUNKED + b"0\r\na: " + ENDLESS, 431),
        (POST + b"Content-Length: 1000001\r\n\r\n", 413),
        (POST + b"Content-Length: 99999999\r\n\r\n" + ENDLESS, 413),
        (CHUNKED + b"1000000\r\n" + ENDLESS * 12, 413),
        (b"POST /early HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 200),
    ],
)
def test_an_early_answer_reaches_a_client_that_goes_on_sending(wire, status):
    async def scenario(scene):
        client = await scene.connect(wire)
        for _ in range(20):
            client.send(ENDLESS)
            await client.writer.drain()
        answer = await client.answer()

        assert (answer[0], answer[1]["connection"]) == (status, "close")
        client.vanish()
        assert len(scene.app.scopes) == 1
        await until(lambda: not scene.connections)

    play(scenario)


@pytest.mark.parametrize(
    "beginning",
    [b"GET /", b"GET /a HTTP/1.1\r\na: b", POST + b"Content-Length: 999\r\n\r\n", CHUNKED + b"111\r\n"],
)
def test_a_request_that_arrives_too_slowly_is_answered_and_not_waited_for(beginning, short_times):
    async def scenario(scene):
        client = await scene.connect(beginning)
        answer = asyncio.create_task(client.answer())
        while not answer.done():  # one byte now and then does not buy it more time
            client.send(b"1")
            await asyncio.sleep(0.05)

        assert answer.result()[0] == 408
        assert answer.result()[2]["detail"] == "The request did not arrive within 0.2 s. Send it again."
        await until(lambda: not scene.connections)  # though the client stays

    play(scenario, request_timeout_s=0.2)


@pytest.mark.parametrize("wire", [b"", GET, b"\r\n"])
def test_idle_connections_are_closed_without_a_word(short_times, wire):
    async def scenario(scene):
        client = await scene.connect(wire)
        if wire.startswith(b"GET"):
            await client.answer()

        assert await client.end() == b""

    play(scenario, request_timeout_s=0.4)


@pytest.mark.parametrize("beginning", [b"", b"GET /a HT"])
def test_silent_connections_and_slow_heads_give_way_at_once(beginning):
    async def scenario(scene):
        used = [await scene.connect(GET) for _ in range(3)]
        for client in used:
            await client.answer()
        for _ in range(100):
            await scene.connect(beginning)

        for client in [*used, await scene.connect()]:
            client.send(GET)
            assert (await client.answer())[0] == 200
        assert len(scene.connections) <= 10

    play(scenario, max_connections=10)


def test_a_connection_whose_request_is_waiting_to_be_read_is_not_silent():
    async def scenario(scene):
        first = await scene.connect()
        for _ in range(9):
            await scene.connect()
        await until(lambda: len(scene.connections) == 10)
        first.send(GET)
        address = first.writer.get_extra_info("peername")
        crowd = [socket.create_connection(address) for _ in range(5)]  # before the loop reads the request

        assert (await first.answer())[0] == 200
        for client in crowd:
            client.close()

    play(scenario, max_connections=10)


def test_bodies_that_no_longer_come_make_room_if_nothing_else_does(monkeypatch):
    monkeypatch.setattr(connection_module, "STALLED_S", 0.1)

    async def scenario(scene):
        scene.app.go_on.clear()
        busy = await scene.connect(GET)
        stalled = [await scene.connect(POST + b"Content-Length: 5\r\n\r\nh") for _ in range(9)]
        await until(lambda: len(scene.app.scopes) == 10)
        await asyncio.sleep(0.2)

        assert (await scene.ask(b"GET /early HTTP/1.1\r\n\r\n"))[0] == 200
        await until(lambda: scene.app.gone == 1)
        assert await stalled[0].end() == b""
        scene.app.go_on.set()
        assert (await busy.answer())[0] == 200

    play(scenario, max_connections=10)


def test_health_is_told_when_too_many_connections_are_at_work():
    async def scenario(scene):
        scene.app.go_on.clear()
        busy = [await scene.connect(GET) for _ in range(2)]
        await until(lambda: len(scene.app.scopes) == 2)
        refused = await scene.connect(GET)
        status, headers, told = await refused.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert told["detail"] == "later"
        assert await refused.end() == b""
        health = await scene.connect(b"GET /health HTTP/1.1\r\n\r\n")
        assert (await health.answer())[0] == 200

        scene.app.go_on.set()
        for client in busy:
            assert (await client.answer())[0] == 200

    play(scenario, max_connections=2)


def large(n_bytes, more_bytes=0):
    """A request with a body, of which so many bytes are missing."""
    return POST + b"Content-Length: %d\r\n\r\n" % n_bytes + b"x" * (n_bytes - more_bytes)


def reserved(scene):
    return scene.server.config.reserved_bytes


def test_bodies_together_have_a_limit_until_they_are_answered():
    async def scenario(scene):
        scene.app.go_on.clear()
        first = [await scene.connect(large(300_000)) for _ in range(2)]
        await until(lambda: reserved(scene) == 2 * 5 * 65_536)
        status, headers, told = await scene.ask(large(300_000))
        assert (status, headers["connection"]) == (503, "close")
        assert told["detail"] == "Too many large bodies at once. Send it again a little later."
        chunks = CHUNKED + b"%x\r\n" % 300_000 + b"x" * 300_000
        assert (await scene.ask(chunks))[0] == 503
        small = [await scene.connect(large(60_000)) for _ in range(20)]  # these do not count
        assert reserved(scene) == 2 * 5 * 65_536

        scene.app.go_on.set()
        for client in (*first, *small):
            assert (await client.answer())[0] == 200
        assert (await scene.ask(large(300_000)))[0] == 200

    play(scenario, max_bodies_bytes=700_000)


def test_a_body_that_has_stopped_arriving_gives_way(monkeypatch):
    monkeypatch.setattr(connection_module, "STALLED_S", -1.0)

    async def scenario(scene):
        stopped = [await scene.connect(large(400_000, more_bytes=1)) for _ in range(2)]
        await until(lambda: reserved(scene) == 2 * 7 * 65_536)

        assert (await scene.ask(large(300_000)))[0] == 200
        answers = [client for client in stopped if client.reader._buffer]
        [refused] = answers  # one was enough
        status, headers, told = await refused.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert "too slowly" in told["detail"]
        [other] = [client for client in stopped if client is not refused]
        other.send(b"x")
        assert (await other.answer())[0] == 200

    play(scenario, max_bodies_bytes=950_000)


def test_a_body_that_arrives_does_not_give_way(monkeypatch):
    monkeypatch.setattr(connection_module, "STALLED_S", 1e9)

    async def scenario(scene):
        arriving = await scene.connect(large(400_000, more_bytes=1))
        await until(lambda: reserved(scene) == 7 * 65_536)
        assert (await scene.ask(large(300_000)))[0] == 503
        arriving.send(b"x")
        assert (await arriving.answer())[0] == 200

    play(scenario, max_bodies_bytes=500_000)


def test_one_body_is_taken_however_little_all_may_have():
    async def scenario(scene):
        client = await scene.connect(large(900_000))
        assert (await client.answer())[0] == 200
        client.send(large(900_000))
        assert (await client.answer())[0] == 200

    play(scenario, max_bodies_bytes=1)


def test_the_body_of_a_client_that_vanished_counts_as_long_as_it_is_at_work():
    async def scenario(scene):
        scene.app.go_on.clear()
        at_work = await scene.connect(large(300_000))
        await until(lambda: reserved(scene) == 5 * 65_536)
        at_work.vanish()
        assert reserved(scene) == 5 * 65_536
        scene.app.go_on.set()
        await until(lambda: not reserved(scene))

        partial = await scene.connect(large(300_000, more_bytes=1))
        await until(lambda: reserved(scene))
        partial.vanish()
        await until(lambda: not reserved(scene))

    play(scenario)


def test_a_client_that_reads_no_answers_is_asked_no_more_and_let_go(short_times):
    async def scenario(scene):
        scene.app.more_bytes = 1_000_000
        client = await scene.connect(GET * 200)
        client.reader._transport.pause_reading()

        await until(lambda: scene.app.scopes and not scene.connections)
        assert 1 <= len(scene.app.scopes) < 100

    play(scenario, request_timeout_s=0.4)


def test_a_slow_reader_has_time_as_long_as_it_goes_on(short_times):
    async def scenario(scene):
        scene.app.more_bytes = 30_000_000
        client = await scene.connect(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        for _ in range(10):  # much longer than an idle connection may last
            await client.reader.readexactly(3_000_000)
            await asyncio.sleep(0.02)

    play(scenario)


def test_a_client_that_vanishes_leaves_nothing_behind():
    async def scenario(scene):
        for wire in (b"", b"GET /a HT", POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"):
            client = await scene.connect(wire)
            await until(lambda: scene.connections)
            if b"Expect" in wire:
                await client.reader.readuntil(b"\r\n\r\n")
            client.vanish()
            await until(lambda: not scene.connections)
        await until(lambda: scene.app.gone == 1)  # the one whose head had come

        scene.app.go_on.clear()
        client = await scene.connect(GET)
        await until(lambda: len(scene.app.scopes) == 2)
        connection = scene.app.scopes[1]["connection"]
        assert not connection.is_half_closed
        client.vanish()
        await until(lambda: connection.is_half_closed)
        scene.app.go_on.set()
        await until(lambda: not scene.connections)

    play(scenario)


def test_a_client_that_vanishes_after_sending_ahead_is_no_error(caplog):
    uvloop = pytest.importorskip("uvloop")  # its transports raise when they are written to after their end

    async def scenario(scene):
        scene.app.more_bytes = 10_000_000
        client = await scene.connect(3 * GET)
        client.reader._transport.pause_reading()
        await until(lambda: len(scene.app.scopes) == 2)  # its answer waits for the first one to be sent
        client.vanish()
        await until(lambda: not scene.connections and not scene.server.server_state.tasks)
        assert len(scene.app.scopes) == 2

    play(scenario, loop_factory=uvloop.new_event_loop)

    assert not caplog.records


def test_a_client_that_has_closed_its_direction_gets_its_answers():
    async def scenario(scene):
        for wire, n_answers in (
            (GET, 1),
            (POST + BODY, 1),
            (GET * 3, 3),
            (GET * 300, 300),
            (GET + b"GET /a HT", 1),
            (GET * 2 + POST + b"Content-Length: 5\r\n\r\nh", 2),
            (POST + b"Content-Length: 5\r\n\r\nh", 0),
            (b"GET /a HT", 0),
            (b"", 0),
        ):
            scene.app.go_on.clear()
            n_asked = len(scene.app.scopes)
            client = await scene.connect(wire)
            client.writer.write_eof()
            if n_answers:
                await until(lambda n=n_asked: len(scene.app.scopes) > n)
                await asyncio.sleep(0.02)
            scene.app.go_on.set()
            for _ in range(n_answers):
                assert (await client.answer())[0] == 200, wire
            assert await client.end() == b""
            await until(lambda: not scene.connections)

    play(scenario)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_may_hold_what_looks_like_a_request_of_another_protocol(size):
    async def scenario(scene):
        body = b"\r\nGET /a RTSP/1.0\r\n\r\n"
        wire = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        client = await scene.connect()
        for piece in (wire, wire, b"GET /a RTSP/1.0\r\n\r\n"):
            for start in range(0, len(piece), size):
                client.send(piece[start : start + size])
                await asyncio.sleep(0)
        for _ in range(2):
            assert (await client.answer())[2]["body"] == body.decode()
        assert (await client.answer())[2]["detail"] == "RTSP given, HTTP/1.1 expected."

    play(scenario)


def test_an_answer_is_not_lost_because_requests_follow_the_last_one():
    async def scenario(scene):
        scene.app.more_bytes = 500_000
        for upgrade in (b"", UPGRADE + b"\r\n"):
            client = await scene.connect(b"GET /first HTTP/1.1\r\n" + upgrade if upgrade else b"")
            if upgrade:
                await client.answer()
            client.send(b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n" + GET * 100_000)
            await asyncio.sleep(0.05)
            _, headers, told = await client.answer()
            assert (headers["connection"], told["path"]) == ("close", "/last")
            client.vanish()
            await until(lambda: not scene.connections)

    play(scenario)


HOSTS = Hosts("127.0.0.1", "127.0.0.1", ["model.example"])


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
        (b"GET /a HTTP/1.1\r\nHost: Model.Example:8080\r\n\r\n", 200),
        (b"GET http://model.example/a HTTP/1.1\r\nHost: model.example\r\n\r\n", 200),
        (b"GET /a HTTP/1.0\r\n\r\n", 200),
        (b"GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /a HTTP/1.1\r\nHost: evil.example\r\n" + UPGRADE + b"\r\n", 421),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /a HTTP/1.1\r\nHost: 127.0.0.1@evil.example\r\n\r\n", 421),
        (b"GET /a HTTP/1.1\r\nHost: \xff\r\n\r\n", 421),
        (b"GET http://evil.example/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 421),
        (b"GET http://127.0.0.1/a HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 400),
    ],
)
def test_requests_for_other_hosts_are_refused(wire, status):
    async def scenario(scene):
        given, _, told = await scene.ask(wire)
        assert given == status
        if status == 421:
            assert "allowed_hosts" in told["detail"]

    play(scenario, hosts=HOSTS)


def test_stopping_answers_what_is_at_work_and_what_comes_over_open_connections(monkeypatch):
    monkeypatch.setattr(connection_module, "PAUSE_S", 1.0)
    begun = []
    turn_away = server_module._turn_away

    def connect_before(listener):
        """Connections that the server has not accepted when it stops."""
        for _ in range(50):
            begun.append(socket.create_connection(listener.getsockname()))
            begun[-1].sendall(b"GET /health HTTP/1.1\r\n\r\n")
        turn_away(listener)

    monkeypatch.setattr(server_module, "_turn_away", connect_before)

    async def scenario(scene):
        scene.app.go_on.clear()
        idle = await scene.connect()
        used = await scene.connect(b"GET /health HTTP/1.1\r\n\r\n")
        await used.answer()
        busy = await scene.connect(GET)
        sending = await scene.connect(POST + b"Content-Length: 5\r\n\r\n")
        heading = await scene.connect(b"GET /b HT")
        unused = await scene.connect()
        await until(lambda: len(scene.app.scopes) == 3 and len(scene.connections) == 6)
        scene.server.should_exit = True
        await until(lambda: len(begun) == 50)
        for client in begun:
            client.setblocking(False)
            answer = await asyncio.get_running_loop().sock_recv(client, 1000)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"connection: close" in answer
            client.close()

        idle.send(b"GET /c HTTP/1.1\r\n\r\n")
        used.send(b"GET /d HTTP/1.1\r\n\r\n")
        sending.send(b"hello")
        heading.send(b"TP/1.1\r\n\r\n")
        await until(lambda: len(scene.app.scopes) == 56)
        scene.app.go_on.set()
        clients = ((busy, "/a"), (sending, "/a"), (heading, "/b"), (idle, "/c"), (used, "/d"))
        for client, path in clients:
            _, headers, told = await client.answer()
            assert (headers["connection"], told["path"]) == ("close", path)
            assert await client.end() == b""
        assert await unused.end() == b""

    play(scenario)


def test_as_many_files_may_be_open_as_connections(monkeypatch, caplog):
    resource = pytest.importorskip("resource")
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))

    for n_connections in (100, 1000, 10_000):
        server_module._allow_files(n_connections)

    assert limits == [(4096, 4096)] * 3
    assert caplog.text.count("10000 connections") == 1


def test_workers_share_an_address_that_nobody_else_gets():
    with bind("127.0.0.1", 0, shared=True) as listener, beside(listener) as other:
        assert listener.getsockname() == other.getsockname()
        other.listen()
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port, shared=True)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", taken.getsockname()[1], shared=False)
