"""Connections from clients, over real sockets, to a service that says what it was asked."""

import asyncio
import contextlib
import json
import socket
import tracemalloc

import pytest

import mapper.http.client_connection
from mapper.http.listener import Listener
from mapper.http.message import Answer

POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\n"
BODY = b"Content-Length: 5\r\n\r\nhello"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
LIMITS = {"max_body_bytes": 1000, "body_timeout_s": 30.0, "max_connections": 100}
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Service:
    """Says what it was asked; not before `go_on` is set, when that was cleared."""

    def __init__(self):
        self.requests = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.more_bytes = 0

    async def answer(self, request):
        self.requests.append(request)
        await self.go_on.wait()
        told = {"method": request.method, "path": request.path, "body": request.body.decode()}
        if request.fault is not None:
            told["fault"] = type(request.fault).__name__
        body = json.dumps(told).encode() + b" " * self.more_bytes
        return Answer(body, status=400 if request.fault else 200), "id-1"


class Client:
    """One end of a connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, wire):
        self.writer.write(wire)

    async def answer(self, has_body=True):
        """Status, headers and content of the next answer."""
        async with asyncio.timeout(20):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers["content-length"])) if has_body else b"null"
            return int(first.split()[1]), headers, json.loads(body)

    async def end(self):
        """Whatever else comes until the connection is closed from the other end."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    def vanish(self):
        self.writer.transport.abort()


class Scene:
    """A listener in front of the service."""

    def __init__(self, listener, service, address):
        self.listener = listener
        self.service = service
        self._address = address
        self.clients = []

    async def connect(self, wire=b""):
        client = Client(*await asyncio.open_connection(*self._address))
        self.clients.append(client)
        client.send(wire)
        return client

    async def ask(self, wire):
        client = await self.connect(wire)
        return await client.answer()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def play(scenario, **limits):
    """Run a coroutine function that is given a scene; in the end nobody may be left."""

    async def run():
        service = Service()
        listener = Listener(service.answer, **{**LIMITS, **limits})
        bound = socket.create_server(("127.0.0.1", 0))
        scene = Scene(listener, service, bound.getsockname())
        await listener.open(bound)
        try:
            await scenario(scene)
        finally:
            service.go_on.set()
            for client in scene.clients:
                client.vanish()
            await listener.close(drain_s=20)
        assert not listener.connections

    asyncio.run(run())


@pytest.fixture
def short_idle_time(monkeypatch):
    monkeypatch.setattr(mapper.http.client_connection, "IDLE_TIMEOUT_S", 0.1)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "wire",
    [
        POST + BODY,
        b"\r\n\r\n" + POST + b"content-LENGTH:  5 \r\n\r\nhello",
        CHUNKED + b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        b"POST http://proxied/a HTTP/1.1\r\nHost: x\r\n" + BODY,
        b"POST /%61 HTTP/1.1\r\nHost: x\r\n" + BODY,
        POST + UPGRADE + BODY,
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
            assert headers["x-request-id"] == "id-1"
            assert headers["date"].endswith(" GMT")

    play(scenario)


def test_requests_sent_ahead_are_answered_in_order():
    async def scenario(scene):
        scene.service.go_on.clear()
        client = await scene.connect(
            b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % i for i in range(50)) + b"nonsense\r\n"
        )
        await until(lambda: scene.service.requests)
        scene.service.go_on.set()

        assert [(await client.answer())[2]["path"] for _ in range(50)] == [f"/{i}" for i in range(50)]
        assert (await client.answer())[2]["fault"] == "NotHttpError"
        assert await client.end() == b""

    play(scenario)


def test_many_requests_sent_ahead_may_offer_another_protocol(caplog):
    async def scenario(scene):
        wire = b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n"
        client = await scene.connect(wire * 2000)
        for _ in range(2000):
            assert (await client.answer())[2]["path"] == "/a"

    play(scenario)
    assert not caplog.text


def test_a_body_in_small_pieces_takes_little_more_memory_than_in_one():
    async def scenario(scene):
        n_bytes = 400_000
        wire = b"2\r\nab\r\n" * (n_bytes // 2)
        client = await scene.connect(CHUNKED)
        await until(lambda: scene.listener.connections)
        (connection,) = scene.listener.connections
        tracemalloc.start()
        try:
            client.send(wire)
            await until(lambda: len(connection._body) == n_bytes)
            used_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert used_bytes < 6 * n_bytes
        client.send(b"0\r\n\r\n")
        assert (await client.answer())[2]["body"] == "ab" * (n_bytes // 2)

    play(scenario, max_body_bytes=1_000_000)


@pytest.mark.parametrize(
    ("wire", "told", "stays"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", None, True),
        (b"GET /a HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", "keep-alive", True),
        (b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", True),
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

        client = await scene.connect(POST + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
        assert (await client.answer())[2]["fault"] == "TooLargeError"

    play(scenario)


ENDLESS = b"x" * 100_000


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (b"nonsense\r\n\r\n", "NotHttpError"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "NotHttpError"),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "NotHttpError"),
        (b"GET /a HTTP/1.1\r\nno colon\r\n\r\n", "NotHttpError"),
        (b"GET /a HTTP/1.1\r\na: \x00\r\n\r\n", "NotHttpError"),
        (b"GET /a\x01b HTTP/1.1\r\n\r\n", "NotHttpError"),
        (POST + b"Content-Length: many\r\n\r\n", "NotHttpError"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "NotHttpError"),
        (CHUNKED + b"zz\r\n", "NotHttpError"),
        (b"GET /" + ENDLESS, "HeadTooLargeError"),
        (b"GET /a HTTP/1.1\r\na: " + ENDLESS, "HeadTooLargeError"),
        (b"GET /a HTTP/1.1\r\na: " + ENDLESS + b"\r\n\r\n", "HeadTooLargeError"),
        (CHUNKED + b"5;" + ENDLESS, "HeadTooLargeError"),
        (CHUNKED + b"0\r\na: " + ENDLESS, "HeadTooLargeError"),
        (POST + b"Content-Length: 1001\r\n\r\n", "TooLargeError"),
        (POST + b"Content-Length: 99999999\r\n\r\n" + ENDLESS, "TooLargeError"),
        (CHUNKED + b"1000\r\n" + ENDLESS, "TooLargeError"),
    ],
)
def test_what_cannot_be_read_is_answered_even_to_a_client_that_goes_on_sending(wire, fault):
    async def scenario(scene):
        client = await scene.connect(wire)
        for _ in range(20):
            client.send(ENDLESS)
            await client.writer.drain()
        status, headers, told = await client.answer()

        assert (status, told["fault"], headers["connection"]) == (400, fault, "close")
        assert await client.end() == b""
        assert len(scene.service.requests) == 1

    play(scenario)


@pytest.mark.parametrize(
    "beginning",
    [b"GET /", b"GET /a HTTP/1.1\r\na: b", POST + b"Content-Length: 999\r\n\r\n", CHUNKED + b"111\r\n"],
)
def test_a_request_that_arrives_too_slowly_is_answered_and_not_waited_for(beginning):
    async def scenario(scene):
        client = await scene.connect(beginning)
        answer = asyncio.create_task(client.answer())
        while not answer.done():  # one byte now and then does not buy it more time
            client.send(b"1")
            await asyncio.sleep(0.05)

        assert answer.result()[2]["fault"] == "RequestTimeoutError"
        client.vanish()
        await until(lambda: not scene.listener.connections)

    play(scenario, body_timeout_s=0.2)


def test_a_client_that_is_refused_and_stays_is_let_go(short_idle_time):
    async def scenario(scene):
        client = await scene.connect(b"nonsense\r\n\r\n")
        await client.answer()
        await until(lambda: not scene.listener.connections)

    play(scenario, body_timeout_s=0.2)


@pytest.mark.parametrize("wire", [b"", b"GET /a HTTP/1.1\r\n\r\n", b"\r\n"])
def test_idle_connections_are_closed_without_a_word(short_idle_time, wire):
    async def scenario(scene):
        client = await scene.connect(wire)
        if wire.startswith(b"GET"):
            await client.answer()

        assert await client.end() == b""

    play(scenario, body_timeout_s=0.4)


def test_a_connection_too_many_is_told_so_and_the_others_are_served():
    async def scenario(scene):
        first, second = [await scene.connect() for _ in range(2)]
        await until(lambda: len(scene.listener.connections) == 2)
        third = await scene.connect()
        assert (await third.answer())[2]["fault"] == "BusyError"
        assert await third.end() == b""

        for client in (first, second):
            client.send(b"GET /a HTTP/1.1\r\n\r\n")
            assert (await client.answer())[0] == 200
        first.vanish()
        await until(lambda: len(scene.listener.connections) == 1)
        assert (await scene.ask(b"GET /a HTTP/1.1\r\n\r\n"))[0] == 200

    play(scenario, max_connections=2)


def test_a_client_that_reads_no_answers_is_asked_no_more_and_let_go(short_idle_time):
    async def scenario(scene):
        scene.service.more_bytes = 1_000_000
        client = await scene.connect(b"GET /a HTTP/1.1\r\n\r\n" * 200)
        client.reader._transport.pause_reading()

        await until(lambda: not scene.listener.connections)
        assert 1 <= len(scene.service.requests) < 100

    play(scenario, body_timeout_s=0.4)


def test_a_slow_reader_has_time_as_long_as_it_goes_on():
    async def scenario(scene):
        scene.service.more_bytes = 30_000_000
        client = await scene.connect(b"GET /a HTTP/1.1\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        (connection,) = scene.listener.connections
        for _ in range(2):
            unsent_bytes = connection._transport.get_write_buffer_size()
            await client.reader.readexactly(5_000_000)
            await until(lambda n=unsent_bytes: connection._transport.get_write_buffer_size() < n)
            connection.expire()
            assert not connection._transport.is_closing()

        connection.expire()  # nothing has been read since
        assert connection._transport.is_closing()

    play(scenario)


def test_a_client_that_vanishes_leaves_nothing_behind():
    async def scenario(scene):
        for wire in (b"", b"GET /a HT", POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"):
            client = await scene.connect(wire)
            await until(lambda: scene.listener.connections)
            if b"Expect" in wire:
                await client.reader.readuntil(b"\r\n\r\n")
            client.vanish()
            await until(lambda: not scene.listener.connections)
        await until(lambda: scene.service.requests)  # the one whose head had come

        scene.service.go_on.clear()
        client = await scene.connect(b"GET /b HTTP/1.1\r\n\r\n")
        await until(lambda: len(scene.service.requests) == 2)
        assert scene.service.requests[1].is_wanted
        client.vanish()
        await until(lambda: not scene.listener.connections)
        assert not scene.service.requests[1].is_wanted

    play(scenario)


def test_a_service_that_fails_ends_the_connection_and_is_logged(caplog):
    async def scenario(scene):
        async def fail(_):
            raise OSError("disk full")

        scene.listener.service = fail
        client = await scene.connect(b"GET /a HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await client.end() == b""

    play(scenario)
    assert "GET '/a' got no answer" in caplog.text


def test_stopping_ends_idle_connections_at_once_and_others_with_their_answer():
    async def scenario(scene):
        scene.service.go_on.clear()
        idle = await scene.connect()
        busy = await scene.connect(b"GET /a HTTP/1.1\r\n\r\n")
        sending = await scene.connect(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await sending.reader.readuntil(b"\r\n\r\n")
        await until(lambda: scene.service.requests and len(scene.listener.connections) == 3)
        closing = asyncio.create_task(scene.listener.close(drain_s=20))

        assert await idle.end() == b""
        with pytest.raises(ConnectionRefusedError):
            await scene.connect()
        sending.send(b"hello")
        scene.service.go_on.set()
        assert (await busy.answer())[1]["connection"] == "close"
        assert (await sending.answer())[2]["body"] == "hello"
        await closing

    play(scenario)


def test_what_does_not_end_in_time_is_cut_off_when_stopping():
    async def scenario(scene):
        scene.service.go_on.clear()
        client = await scene.connect(b"GET /a HTTP/1.1\r\n\r\n")
        await until(lambda: scene.service.requests)

        await scene.listener.close(drain_s=0.1)

        with contextlib.suppress(ConnectionResetError):
            assert await client.end() == b""
        await until(lambda: not scene.listener.connections)

    play(scenario)
