"""uvicorn's protocol for one connection, with the protections that it lacks.

`connection.py`, `entrance.py`, `health.py`, `hosts.py`, `refusals.py`, `server.py` and `turns.py` are the
same files in `mapper/http/` and in `proto_model/serving/http/`, byte for byte: the two sides share no code,
and a test holds them equal. uvicorn 0.54 reads and writes HTTP. What is added here:

- A head has a limited size, and a request a limited time to arrive.
- A request is parsed when those before it are answered, so a client that sends and never reads holds neither
  memory nor the event loop.
- A request begins when it has its turn (`turns.py`).
- What is not HTTP/1.0 or 1.1, comes in another coding than chunks, has two types, or is meant for another
  host, is refused.
- The bodies of all requests together have a limited size. Those that have stopped arriving give way.
- The body of a request that offers `Upgrade` is kept. Java's client offers it with each request.
- An answer that comes before the end of its request reaches the client, instead of a reset. So does one to a
  client that has closed its own direction.
- A new connection takes the place of a silent one. If none is silent, it waits in front (`entrance.py`), but
  the application can still answer questions about its health.
- While the server stops, requests that come over open connections are answered, each as the last one.

The application words all errors: it finds `fault` in the scope, a status and a sentence, when a request
cannot be answered. `read_body` raises it as `RefusedError`.
"""

from __future__ import annotations

import asyncio
import heapq
import select
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .access import Access
from .certificates import Certificates
from .hosts import Hosts
from .turns import Gate, Turns

__all__ = [
    "ClientGoneError",
    "GuardedConfig",
    "Limits",
    "RefusedError",
    "make_room",
    "read_body",
    "reserve",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]

MAX_HEAD_BYTES = 32 * 1024
IDLE_TIMEOUT_S = 75.0  # longer than clients and balancers keep idle connections
SLICE_BYTES = 2048  # so much is parsed before looking whether a request waits for those before it
STALLED_S = 1.0  # who has sent part of a body, or has gone, makes room after so long, if nobody else does
STEP_BYTES = 64 * 1024  # bodies are counted in steps of so much; those below one are not
SINGLE = (b"content-type", b"content-encoding")  # headers of which servers and proxies take different ones
RTSP = b" RTSP/"  # the parser takes its requests for those of HTTP
SLASH = ord("/")
PAUSE_S = 2.0  # how long idle connections stay open for requests on their way when the server stops
LAST_S = 3  # between telling what is still at work to end, so that its client gets an answer, and the end


def _turned_away() -> bytes:
    return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """Limits of the connections of one process, in seconds and numbers, and the hosts that it answers for."""

    max_connections: int
    request_timeout_s: float
    drain_timeout_s: float
    hosts: Hosts | None = None  # None: whatever
    max_bodies_bytes: int = 256 * 1024 * 1024
    health: tuple[str, ...] = ()  # paths that are answered even when too many connections are in use
    turned_away: Callable[[], bytes] = _turned_away  # what further ones are told in the end
    beat: Callable[[], None] = lambda: None  # called while the event loop turns
    access: Access | None = None  # None: everybody may ask
    tls: Certificates | None = None
    gate_of: Callable[[bytes], Gate | None] = lambda beginning: None  # what a request has to pass


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
        If it is too large, too slow, or broken, or if all bodies together are too large.
    ClientGoneError
        If it will never be complete.
    """
    length = _content_length(scope["headers"])
    body = bytearray()  # not a list of pieces: they may be as small as the client likes
    reserved = STEP_BYTES
    more = True
    while more and max(length, len(body)) <= max_bytes:
        message = await receive()
        if "fault" in scope:
            raise RefusedError(*scope["fault"])
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message["body"]
        more = message["more_body"]
        if len(body) > reserved:
            reserved = reserve(scope, len(body))
    if max(length, len(body)) > max_bytes:
        raise RefusedError(413, f"The body is larger than {max_bytes} bytes. Send several smaller requests.")
    return bytes(body)


def reserve(scope: Scope, n_bytes: int) -> int:
    """Count so many bytes, rounded up, as those of a request's body in memory, until the request is answered.

    Gives the rounded number; raises RefusedError if all bodies together have too many. To be called in the
    task that answers. A request always gets what it needs while no other has a body that counts.
    """
    connection: GuardedConnection | None = scope.get("connection")
    if connection is None:  # under another server
        return sys.maxsize
    config = connection.config
    before: int = scope.get("reserved", 0)
    wanted = -(-n_bytes // STEP_BYTES) * STEP_BYTES
    if wanted <= max(before, STEP_BYTES):
        return max(before, STEP_BYTES)
    others = config.reserved_bytes - before
    if others + wanted > config.limits.max_bodies_bytes:
        others -= connection.make_way(others + wanted - config.limits.max_bodies_bytes)
    if others and others + wanted > config.limits.max_bodies_bytes:
        raise RefusedError(503, "Too many large bodies at once. Send it again a little later.")
    if not before:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        task.add_done_callback(lambda _: config.release(scope))
    scope["reserved"] = wanted
    config.reserved_bytes = others + wanted
    connection.reserved_at = connection.loop.time()
    return wanted


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
        if not self._connection.linger() or self.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
        else:
            try:
                self._transport.write_eof()
            except OSError:  # asyncio's: the client has gone
                self._transport.close()


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
        self.is_half_closed = False  # the client sends nothing more; it may have gone
        self._limits = self.config.limits
        self._is_reading = False  # a request has begun and is not complete
        self._is_ending = False  # whatever else comes is forgotten
        self._is_stopping = self.config.is_stopping  # the server is
        self.is_beyond = False  # the limit: it is answered what it may ask, once
        self._is_known = False  # a whole request has come
        self._unanswered = 0
        self._unparsed = 0  # bytes since the last of a body: neither head nor trailers may be endless
        self._line = b""  # beginning of a request line that is not complete
        self._body_bytes = 0
        self._unsent = 0
        # When it began to read, to wait, or to be unable to write; when the last bytes came.
        self._since = self._heard = self.reserved_at = self.loop.time()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(GuardedTransport(transport, self))  # type: ignore[arg-type]
        self.flow = GuardedFlow(self.transport)
        self.flow.connection = self

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        if self._is_ending:
            return
        if self.held:
            self.held = bytes(self.held) + data
            if len(self.held) > STEP_BYTES:
                self.flow.pause_reading()
        elif self._unanswered or self._is_reading or self.config.turns.may_begin(self, data):
            self._parse(data)
        else:
            self.held = data

    def begin(self) -> None:
        """Called when it is the turn of what came."""
        if self.held and not self._is_ending:
            self._parse(self.held)
            self.flow.resume_reading()
            if self.is_half_closed and not self._is_owed():
                self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes
        """Keep the connection for the answers to what is complete."""
        self.is_half_closed = True
        return self._is_owed()

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
        self.config.place_left()

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]
        self._is_reading = True
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._check_head()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(400, "This server is no proxy: CONNECT is not possible.")
            return  # `_parse` starts it anew
        if self.is_beyond:
            fault = (503, "Too many open connections. Try again shortly.")
            self.scope["fault"] = fault  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        self._unanswered += 1
        self._body_bytes = 0
        if self._is_stopping or self.is_beyond:
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
        self._is_known = True
        self._unparsed = 0
        self._since = self.loop.time()
        super().on_message_complete()

    # Between the two

    def _check_head(self) -> None:
        """Refuse what the parser takes, and we do not."""
        version = self.parser.get_http_version()
        if version != "1.1" and version != "1.0":
            raise RefusedError(505, f"HTTP/{version} given, HTTP/1.1 expected.")
        host = None
        single: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name == b"host":
                if host is not None:
                    raise RefusedError(400, "Two Host headers given, one expected.")
                host = value
            elif name == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise RefusedError(
                        501, f"Transfer-Encoding {value[:80].decode('latin-1')!r} given, chunked expected."
                    )
                if version == "1.0":
                    raise RefusedError(400, "Transfer-Encoding is not part of HTTP/1.0. Send HTTP/1.1.")
            elif name in SINGLE and single.setdefault(name, value) != value:
                raise RefusedError(400, f"Two different {name.decode().title()} headers given, one expected.")
        self._check_host(host)
        if self._limits.access is not None:
            try:
                self.scope["client_name"] = self._limits.access.name_of(self.url, self.headers)  # type: ignore[typeddict-unknown-key]
            except PermissionError as error:
                raise RefusedError(401, str(error)) from error
            except ValueError as error:
                raise RefusedError(400, str(error)) from error

    def _check_host(self, host: bytes | None) -> None:
        hosts = self._limits.hosts
        if hosts is None:
            return
        if host and not hosts.includes(host):
            raise _misdirected(host)
        if self.url[0] != SLASH:  # http://host/path, in which the host counts; but both are checked
            host = self.url.partition(b"://")[2].partition(b"/")[0]
            if host and not hosts.includes(host):
                raise _misdirected(host)

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse what came, up to a request that has to wait for those before it."""
        if len(data) > SLICE_BYTES:
            data = memoryview(data)
        while data and not self._is_ending:
            if self.pipeline:
                self.flow.pause_reading()
                break
            size = max(SLICE_BYTES, self._missing_bytes()) if len(data) > SLICE_BYTES else SLICE_BYTES
            part = data[:size]
            if size == SLICE_BYTES and RTSP in (text := self._line + part):
                start = text.rfind(b"\n", 0, text.find(RTSP)) + 1 - len(self._line)
                if start <= 0 and (self._line or not self._is_reading):
                    self._refuse(400, "RTSP given, HTTP/1.1 expected.")
                    break
                part = data[: start if start > 0 else size]  # whether a body or a request begins there
            data = data[len(part) :]
            self._unparsed += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_ending:
                    data = self._without_upgrade() + bytes(part[upgrade.args[0] :]) + bytes(data)
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
            is_line = self._is_reading and not self._has_cycle() and not self.headers
            self._line = (self._line + part)[-len(RTSP) :] if is_line else b""
        self.held = b"" if self._is_ending else data

    def _missing_bytes(self) -> int:
        """How much of a body of known length is still to come."""
        is_body = self._is_reading and self._has_cycle()
        return _content_length(self.headers) - self._body_bytes if is_body else 0

    def _without_upgrade(self) -> bytes:
        """Head of a request that offers another protocol as if it did not, and a new parser for it.

        A parser skips the body that follows such an offer.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % item for item in self.headers if item[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._unparsed = 0
        return b"\r\n".join(lines) + b"\r\n\r\n"

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

    def _is_owed(self) -> bool:
        """Whether answers are to come though the client sends nothing more; forgets what is incomplete."""
        if self.held:
            return True
        if self._is_reading and not self._is_ending:
            self._is_ending = True
            if self._has_cycle():
                if not self.pipeline:
                    return False  # the one at work
                self.pipeline.popleft()
                self._unanswered -= 1
        return self._unanswered > 0

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.config.n_answered += 1
        self.config.turns.answered(self.loop)
        self._unanswered -= 1
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.held and not self.pipeline:
            self._parse(self.held)
        self.flow.resume_reading()
        if self.is_half_closed and not self._is_owed():
            self.transport.close()

    def linger(self) -> bool:
        """Whether to wait for the client to close the connection, because more of it may be on its way.

        What has not been read when a connection is closed resets it, and the client loses the answer.
        """
        is_sending = self._is_reading or self._is_stopping or self.flow.read_paused or self.held
        if self.is_half_closed or not is_sending:
            return False
        self._is_ending = True
        self.held = b""
        self._unanswered -= len(self.pipeline)
        self.pipeline.clear()
        self._since = self.loop.time()
        return True

    # What the server calls

    def shutdown(self) -> None:
        """Let the next answer be the last; `sweep` ends the connection if there is none."""
        if not self._is_stopping and not self._unanswered and not self._is_reading:
            self._since = self.loop.time()
        self._is_stopping = True
        if self._unanswered:
            self.cycle.keep_alive = False

    def sweep(self) -> None:
        """End what takes too long: a request on its way, an idle connection, an answer that nobody reads."""
        age = self.loop.time() - self._since
        patience = IDLE_TIMEOUT_S
        if self._is_stopping:
            patience = min(PAUSE_S, self._limits.drain_timeout_s)
        if self.flow.write_paused or (self._is_ending and not self._unanswered):
            unsent = self.transport.get_write_buffer_size()
            if age > patience or (self._is_ending and age > self._limits.request_timeout_s):
                if unsent in (0, self._unsent):
                    self.transport.abort()
                self._since = self.loop.time()  # slow, but it goes on
                self._unsent = unsent
        elif self._is_reading and (not self._unanswered or self._has_cycle()):
            if age > self._limits.request_timeout_s:
                seconds = f"{self._limits.request_timeout_s:g}"
                self._refuse(408, f"The request did not arrive within {seconds} s. Send it again.")
        elif not self._unanswered and not self.held and age > patience:
            self.transport.close()

    def make_way(self, n_bytes: int) -> int:
        """Refuse bodies of others that have stopped arriving, until so many bytes are free; how many are."""
        others = cast("set[GuardedConnection]", self.connections) - {self}
        freed = 0
        for other in sorted((other for other in others if other._has_stopped()), key=lambda c: c.reserved_at):
            if freed >= n_bytes:
                break
            other._refuse(503, "The body came too slowly, and others needed the memory. Send it again.")
            freed += self.config.release(cast("Scope", other.scope))
        return freed

    def _has_stopped(self) -> bool:
        """Whether a body that counts is arriving, and has not grown by a step for long."""
        is_counted = self._is_reading and not self._is_ending and "reserved" in self.scope
        return is_counted and self.loop.time() - self.reserved_at > STALLED_S

    def _rank(self) -> tuple[int, float] | None:
        """How soon it may make room: what never asked anything goes before what did, then by age."""
        if self.transport.is_closing():
            return None
        if self.held and not self._unanswered:  # it waits for its turn
            has_gone = self.is_half_closed and self.loop.time() - self._heard > STALLED_S
            return (0, self._heard) if has_gone else None
        if not self._unanswered:
            if self._is_known and self.loop.time() - self._since < STALLED_S:
                return None  # it may have asked again already
            return int(self._is_known), self._since
        is_partial = self._unanswered == 1 and self._is_reading and self._has_cycle()
        if (is_partial or self.is_half_closed) and self.loop.time() - self._heard > STALLED_S:
            return 2, self._heard
        return None


def _misdirected(host: bytes) -> RefusedError:
    shown = host[:80].decode("latin-1")
    return RefusedError(
        421, f"This server is not known as {shown!r}. Its setting allowed_hosts can name further hosts."
    )


def make_room(connections: set[GuardedConnection], n_wanted: int) -> int:
    """Close so many of those that are silent for longest, and at least a twentieth of all; how many."""
    ranked = {other: rank for other in connections if (rank := other._rank()) is not None}
    n_most = max(n_wanted, 1 + len(connections) // 20)
    silent = _without_news(heapq.nsmallest(n_most, ranked, key=ranked.__getitem__))
    for connection in silent:
        connection.transport.abort()
        connections.discard(connection)  # it leaves a moment later
    return len(silent)


def _without_news(connections: list[GuardedConnection]) -> list[GuardedConnection]:
    """Those of which nothing has come that is still to be read."""
    if not hasattr(select, "poll"):
        return connections
    poll = select.poll()
    numbers = {other.transport.get_extra_info("socket").fileno(): other for other in connections}
    for number, other in numbers.items():
        if not other.is_half_closed:  # there, the end is the news
            poll.register(number, select.POLLIN)
    for number, _ in poll.poll(0):
        del numbers[number]
    return list(numbers.values())


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
        self.is_stopping = False
        self.n_answered = 0
        self.reserved_bytes = 0  # of all bodies in memory
        self.turns = Turns(limits.health, limits.gate_of)
        self.place_left: Callable[[], None] = lambda: None  # called when a connection has ended

    def release(self, scope: Scope) -> int:
        """Count the body of a request no longer; how many bytes that were."""
        n_bytes: int = scope.pop("reserved", 0)
        self.reserved_bytes -= n_bytes
        return n_bytes
