"""Bytes of HTTP into `GuardedConnection`: the same requests however they are cut, and as h11 reads them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h11
from uvicorn.server import ServerState

from proto_model.serving.http.connection import (
    ClientGoneError,
    GuardedConfig,
    GuardedConnection,
    Limits,
    RefusedError,
    read_body,
)

LIMITS = Limits(10, 30.0, 1.0)
MAX_BODY = 10_000
MOST_HELD = 70_000
IDLE_TURNS = 6  # of the loop; an application takes fewer from one step to the next

Seen = tuple[str, bytes, bytes]


class Transport(asyncio.Transport):
    """Takes what is written, and remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class App:
    """Reads each request, and remembers those that were whole."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = 200
        try:
            if "fault" in scope:
                raise RefusedError(*scope["fault"])
            body = await read_body(scope, receive, MAX_BODY)
            self.seen.append((scope["method"], scope["raw_path"], body))
        except RefusedError as error:
            status = error.status
            assert status in (400, 408, 413, 431, 503) or 400 <= status < 600
        except ClientGoneError:
            return
        headers = [(b"content-length", b"2")] + ([(b"connection", b"close")] if status != 200 else [])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


LOOP = asyncio.new_event_loop()


def requests_of(data: bytes, cuts: list[int]) -> tuple[list[Seen], bytes]:
    """Requests that reach the application, and what is answered, if bytes come in these pieces."""
    app = App()
    config = GuardedConfig(app, LIMITS)
    config.load()
    state = ServerState()
    transport = Transport()

    async def feed() -> None:
        connection = GuardedConnection(config, state, {}, LOOP)
        connection.connection_made(transport)
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            connection.data_received(data[begin:end])
            assert len(connection.held) <= MOST_HELD + len(data)
            await _settle(connection, transport)
        connection.connection_lost(None)
        await _settle(connection, transport)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)

    LOOP.run_until_complete(feed())
    return app.seen, bytes(transport.written)


async def _settle(connection: GuardedConnection, transport: Transport) -> None:
    """Let tasks run until nothing happens any more."""
    before, idle = (-1, -1, -1), 0
    while idle < IDLE_TURNS:
        await asyncio.sleep(0)
        now = len(connection.tasks), len(transport.written), len(connection.held)
        idle = idle + 1 if now == before else 0
        before = now


def http(data: bytes) -> None:
    """HTTP/1.1: the first byte says how it is cut."""
    if len(data) < 2:
        return
    step, data = 1 + data[0] % 61, data[1:]
    whole, answer = requests_of(data, [])
    pieces, other_answer = requests_of(data, list(range(step, len(data), step)))
    assert whole == pieces, (whole, pieces)
    assert _statuses(answer) == _statuses(other_answer)
    expected = _by_h11(data)
    if expected is not None and whole:
        method, target, body = whole[0]
        assert (method, body) == (expected[0], expected[2]), (whole[0], expected)
        path = expected[1].partition(b"?")[0]
        assert not path.startswith(b"/") or target == path, (whole[0], expected)


def _statuses(answer: bytes) -> list[bytes]:
    return [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


def _by_h11(data: bytes) -> Seen | None:
    """The first request as h11 reads it, None if it is none, or not whole."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request, body = None, b""
    with contextlib.suppress(h11.RemoteProtocolError):
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                return bytes(request.method).decode(), bytes(request.target), body
            else:
                return None
    return None
