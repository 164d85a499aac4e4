"""uvicorn with the protections that it lacks, and the processes around it.

`mapper/http/server.py` and `proto_model/serving/http/server.py` are the same file, byte for byte: the two
sides share no code, and a test holds them equal. uvicorn 0.54 reads and writes HTTP. What is added here:

- A head has a limited size, and a request a limited time to arrive.
- A request is parsed when those before it are answered, so a client that sends and never reads holds neither
  memory nor the event loop.
- The body of a request that offers `Upgrade` is kept. Java's client offers it with each request.
- An answer that comes before the end of its request reaches the client, instead of a reset.
- A new connection takes the place of an idle one. If none is idle, the application can still answer
  questions about its health.

The application words all errors: it finds `fault` in the scope, a status and a sentence, when a request
cannot be answered. `read_body` raises it as `RefusedError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server

__all__ = [
    "ClientGoneError",
    "Limits",
    "RefusedError",
    "beside",
    "bind",
    "freeze",
    "read_body",
    "run",
    "supervise",
]

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]

MAX_HEAD_BYTES = 32 * 1024
IDLE_TIMEOUT_S = 75.0  # longer than clients and balancers keep idle connections
SLICE_BYTES = 2048  # so much is parsed before looking whether a request waits for those before it
YOUNG_S = 0.5  # a connection that is idle for less does not make room for another
SWEEP_S = 0.5  # one timer for all connections: one each takes a tenth of a small request
LAST_S = 3  # between telling what is still at work to end, so that its client gets an answer, and the end
RESTART_PAUSE_S = 1.0
ENDING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Limits:
    """Limits of the connections of one process, in seconds and numbers."""

    max_connections: int
    request_timeout_s: float
    drain_timeout_s: float


class RefusedError(Exception):
    """A request that was not read to its end: HTTP status, and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Body of a request.

    Raises
    ------
    RefusedError
        If it is too large, too slow, or broken.
    ClientGoneError
        If it will never be complete.
    """
    length = _content_length(scope["headers"])
    body = bytearray()  # not a list of pieces: they may be as small as the client likes
    more = True
    while more and max(length, len(body)) <= max_bytes:
        message = await receive()
        if "fault" in scope:
            raise RefusedError(*scope["fault"])
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message["body"]
        more = message["more_body"]
    if max(length, len(body)) > max_bytes:
        raise RefusedError(413, f"The body is larger than {max_bytes} bytes.")
    return bytes(body)


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Length of the body if the head gives it, else 0."""
    for name, value in headers:
        if name == b"content-length":
            return int(value.lstrip(b" 0") or b"0")  # `int` takes 4300 digits at most, zeros included
    return 0


class GuardedTransport:
    """A transport that does not close while its client is sending, so that the answer arrives."""

    def __init__(self, transport: asyncio.Transport, connection: GuardedConnection) -> None:
        self._transport = transport
        self._connection = connection
        self.write = transport.write
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close the connection, or say that nothing more comes and wait for the client to close it."""
        if not self._connection.linger() or self.is_closing():
            self._transport.close()
        else:
            self._transport.write_eof()


class GuardedFlow(FlowControl):
    """Reads nothing while requests wait that have been read already."""

    connection: GuardedConnection

    def resume_reading(self) -> None:
        if not self.connection.pipeline and not self.connection.held:
            super().resume_reading()


class GuardedConnection(HttpToolsProtocol):
    """One connection from a client."""

    config: GuardedConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: bytes | memoryview = b""  # read, but not parsed yet
        self._limits = self.config.limits
        self._is_reading = False  # a request has begun and is not complete
        self._is_ending = False  # whatever else comes is forgotten
        self._is_stopping = False  # the server is
        self._is_one_too_many = False
        self._unanswered = 0
        self._unparsed = 0  # bytes since the last of a body: neither head nor trailers may be endless
        self._body_bytes = 0
        self._unsent = 0
        self._since = self.loop.time()  # when it began to read, to wait, or to be unable to write

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(GuardedTransport(transport, self))  # type: ignore[arg-type]
        self.flow = GuardedFlow(self.transport)
        self.flow.connection = self
        excess = len(self.connections) - self._limits.max_connections
        if excess > 0 and not self._make_room():
            self._is_one_too_many = True
            if excess > 32 + self._limits.max_connections // 10:  # even for being told so
                self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self.held:
            self.held = bytes(self.held) + data
        else:
            self._parse(data)

    def pause_writing(self) -> None:
        self._since = self.loop.time()
        super().pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ending = True
        self.held = b""
        self.pipeline.clear()
        # uvicorn only tells the last request that its client is gone; the one at work may be an earlier one.
        self.transport.write = lambda data: None  # type: ignore[method-assign]
        super().connection_lost(exc)

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]
        self._is_reading = True
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise RefusedError(400, "This server is no proxy: CONNECT is not possible.")
        if self.parser.should_upgrade():
            return  # `_parse` starts it anew
        if self._is_one_too_many:
            fault = (503, "Too many open connections. Try again shortly.")
            self.scope["fault"] = fault  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        self._unanswered += 1
        self._body_bytes = 0
        if self._is_stopping or self._is_one_too_many:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._body_bytes += len(body)
        if not self._is_ending:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_ending or self.parser.should_upgrade():
            return
        self._is_reading = False
        self._unparsed = 0
        self._since = self.loop.time()
        super().on_message_complete()

    # Between the two

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse what came, up to a request that has to wait for those before it."""
        if len(data) > SLICE_BYTES:
            data = memoryview(data)
        while data and not self._is_ending:
            if self.pipeline:
                self.flow.pause_reading()
                break
            size = max(SLICE_BYTES, self._missing_bytes()) if len(data) > SLICE_BYTES else SLICE_BYTES
            part, data = data[:size], data[size:]
            self._unparsed += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_ending:
                    data = bytes(part[upgrade.args[0] :]) + bytes(data)
                    self._restart()
            except httptools.HttpParserError as error:
                cause = error.__context__
                if isinstance(cause, RefusedError):
                    self._refuse(cause.status, str(cause))
                elif isinstance(cause, httptools.HttpParserError | ValueError | None):
                    self._refuse(400, f"The request is not valid HTTP/1.1: {error}.")
                else:
                    raise  # a mistake in here
            if self._unparsed > MAX_HEAD_BYTES:
                self._refuse(431, f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.")
        self.held = b"" if self._is_ending else data

    def _missing_bytes(self) -> int:
        """How much of a body of known length is still to come."""
        is_body = self._is_reading and self._has_cycle()
        return _content_length(self.headers) - self._body_bytes if is_body else 0

    def _restart(self) -> None:
        """Read a request that offers another protocol as if it did not; the parser skips its body."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % item for item in self.headers if item[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n")

    def _refuse(self, status: int, detail: str) -> None:
        """Have the application answer a request that cannot be read, as the last one."""
        if self._is_ending:
            return
        self._is_ending = True
        if not self._is_reading:
            self.on_message_begin()
        self.scope["fault"] = (status, detail)  # type: ignore[typeddict-unknown-key]
        if self._has_cycle():
            if self.cycle.response_complete:
                self.transport.close()
            self.cycle.message_event.set()
        else:
            self._unanswered += 1
            self.url = b"/"  # whatever came of it may not be a URL
            super().on_headers_complete()
            self.scope["method"] = self.scope["path"] = ""
        self.cycle.keep_alive = False

    def _has_cycle(self) -> bool:
        """Whether the head of the request at hand is complete."""
        return self.cycle is not None and self.cycle.scope is self.scope

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self._unanswered -= 1
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.held and not self.pipeline:
            self._parse(self.held)
        self.flow.resume_reading()
        if self._is_stopping:
            self.shutdown()

    def linger(self) -> bool:
        """Whether to wait for the client to close the connection, because it is still sending."""
        if not self._is_reading:
            return False
        self._is_ending = True
        self.held = b""
        self.pipeline.clear()
        self._since = self.loop.time()
        return True

    # What the server calls

    def shutdown(self) -> None:
        """End the connection as soon as what was begun is answered."""
        self._is_stopping = True
        if self._unanswered:
            self.cycle.keep_alive = False
        elif not self._is_reading:
            self.transport.close()

    def is_idle(self, seconds: float) -> bool:
        """Whether nothing is being answered, and no request has become complete for so long."""
        age = self.loop.time() - self._since
        return not self._unanswered and age > seconds and not self.transport.is_closing()

    def sweep(self) -> None:
        """End what takes too long: a request on its way, an idle connection, an answer that nobody reads."""
        age = self.loop.time() - self._since
        if self.flow.write_paused or (self._is_ending and not self._unanswered):
            unsent = self.transport.get_write_buffer_size()
            if age > IDLE_TIMEOUT_S or (self._is_ending and age > self._limits.request_timeout_s):
                if unsent in (0, self._unsent):
                    self.transport.abort()
                self._since = self.loop.time()  # slow, but it goes on
                self._unsent = unsent
        elif self._is_reading and (not self._unanswered or self._has_cycle()):
            if age > self._limits.request_timeout_s:
                seconds = f"{self._limits.request_timeout_s:g}"
                self._refuse(408, f"The request did not arrive within {seconds} s. Send it again.")
        elif not self._unanswered and age > IDLE_TIMEOUT_S:
            self.transport.close()

    def _make_room(self) -> bool:
        """Close the connections that are idle for longest, a twentieth of all; whether there were any."""
        connections = cast("set[GuardedConnection]", self.connections)
        idle = [connection for connection in connections if connection.is_idle(YOUNG_S)]
        for connection in heapq.nsmallest(1 + len(connections) // 20, idle, key=lambda c: c._since):
            connection.transport.abort()
        return bool(idle)


class GuardedConfig(Config):
    """uvicorn's configuration, and our limits."""

    def __init__(self, app: Any, limits: Limits) -> None:
        super().__init__(
            app,
            http=GuardedConnection,
            loop="uvloop" if find_spec("uvloop") else "asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=round(limits.drain_timeout_s) + LAST_S,
        )
        self.limits = limits


class GuardedServer(Server):
    """uvicorn's server; looks after its connections, and ends when its supervisor is gone."""

    config: GuardedConfig

    def __init__(self, config: GuardedConfig, close: Callable[[], None], supervisor: int | None) -> None:
        super().__init__(config)
        self._close = close
        self._supervisor = supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._sweep()

    def _sweep(self) -> None:
        for connection in list(cast("set[GuardedConnection]", self.server_state.connections)):
            connection.sweep()
        if self._supervisor is not None and os.getppid() != self._supervisor:
            self.should_exit = True
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests at work finish, or else have the application say that the server is ending."""
        asyncio.get_running_loop().call_later(self.config.limits.drain_timeout_s, self._close)
        await super().shutdown(sockets)


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Socket at an address, which does not listen yet. Workers that share it take theirs `beside` it.

    Raises
    ------
    OSError
        If the address is taken, or not one of this machine's.
    """
    if shared and port:  # who may share a port is not told that somebody else uses it
        _bound(host, port, False).close()
    return _bound(host, port, shared)


def beside(listener: socket.socket) -> socket.socket:
    """A further socket at the address of a shared one."""
    host, port = listener.getsockname()[:2]
    return _bound(host, port, True)


def _bound(host: str, port: int, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers take one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def run(
    app: Any,
    limits: Limits,
    listener: socket.socket,
    close: Callable[[], None],
    supervisor: int | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT, or until the supervisor is gone, then finish what was begun.

    `close` is called when the time to finish is over, and in the end.
    """
    config = GuardedConfig(app, limits)
    server = GuardedServer(config, close, supervisor)

    def stop(*_: object) -> None:
        """A signal before uvicorn has its handlers must not get lost, and one after them must not kill."""
        server.should_exit = True

    for number in ENDING:  # uvicorn raises the signal again after it has drained
        signal.signal(number, stop)
    config.load()
    freeze()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    close()


def freeze() -> None:
    """Keep what is loaded: no collection has to look at it again, nor touch pages that workers share."""
    gc.collect()
    gc.freeze()


def supervise(work: Callable[[int, int], None], n_workers: int, ended: Callable[[int], None]) -> int:
    """Fork the workers, replace those that die, and pass signals on; the worst exit code.

    `work` is given a worker's number and the supervisor's process id; `ended` the process id of one that is
    gone.
    """
    supervisor = os.getpid()
    pids: dict[int, int] = {}
    ending = False

    def start(worker: int) -> None:
        # Neither shall miss a signal: the child not before it has handlers of its own, we not before its pid.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in ENDING:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                work(worker, supervisor)
                code = 0
            except BaseException:
                logger.exception("worker %d failed", worker)
            finally:
                logging.shutdown()
                os._exit(code)
        pids[pid] = worker
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGTERM)

    for number in ENDING:
        signal.signal(number, end)
    for worker in range(n_workers):
        if not ending:
            start(worker)
    worst = 0
    while pids:
        pid, status = os.wait()
        worker, code = pids.pop(pid), os.waitstatus_to_exitcode(status)
        ended(pid)
        if ending:
            worst = max(worst, 0 if code == -signal.SIGTERM else abs(code))
        else:
            logger.error("worker %d ended with %d; it is started again", worker, code)
            time.sleep(RESTART_PAUSE_S)
            if not ending:
                start(worker)
    return worst
