"""The model server as the service sees it: kept connections, time limits, careful retries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from mapper import errors
from mapper.mapping.answer import ModelAnswer
from mapper.mapping.request import ModelRequest
from mapper.model_server.answer import read_answer
from mapper.model_server.connection import Connection, HttpAnswer
from mapper.model_server.login import Login
from mapper.model_server.proxy import shown_url

logger = logging.getLogger(__name__)

VERSION_HEADER = b"x-model-version"
MAX_VERSION_CHARACTERS = 64
RETRY_PAUSES_S = (0.05, 0.25)
CROWD = 32  # requests that wait in a gate where others can wait elsewhere
BUSY = "Too many requests are waiting for the model server. Try again shortly."


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the client, for each kind of request; queueing and retries count as waiting for an answer."""

    connect_timeout_s: float = 2.0
    predict_timeout_s: float = 30.0
    explain_timeout_s: float = 120.0
    file_timeout_s: float = 3600.0
    max_concurrent: int = 64
    max_waiting: int = 256
    keepalive_s: float = 4.0  # less than servers keep idle connections (uvicorn: 5 s)
    max_answer_bytes: int = 128 * 1024 * 1024


class Gate:
    """Lets so many in at once, lets so many wait, and turns the others away.

    `room` is how many more may come before others should wait elsewhere, if they can.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._places = asyncio.Semaphore(max_concurrent)
        self._left = max_waiting
        self.room = max_concurrent + min(CROWD, max_waiting // 2)

    async def __aenter__(self) -> bool:
        """Wait for a place; whether there was none at once. Raises BusyError when too many wait already."""
        has_to_wait = self._places.locked()
        if has_to_wait and self._left == 0:
            raise errors.BusyError(BUSY)
        self._left -= has_to_wait
        self.room -= 1
        try:
            await self._places.acquire()
        except BaseException:
            self.room += 1
            raise
        finally:
            self._left += has_to_wait
        return has_to_wait

    @property
    def is_full(self) -> bool:
        """Whether too many wait already."""
        return self._left == 0 and self._places.locked()

    async def __aexit__(self, *_: object) -> None:
        """Give the place to the next one."""
        self.room += 1
        self._places.release()


class ModelServer:
    """Client of one model server that speaks MLflow's scoring protocol.

    `observe` is told the kind of each answered request and its seconds at the model server.
    """

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        observe: Callable[[str, float], None] | None = None,
        login: Login | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._observe = observe
        self.url = shown_url(url)
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._url = url
        self._login = login or Login()
        self._ssl = self._login.context(url)
        self._head = _request_head(url, "POST", "/invocations", self._login)
        self._idle: list[Connection] = []
        limit = self._limits
        self._timeouts = {
            "predict": limit.predict_timeout_s,
            "explain": limit.explain_timeout_s,
            "file": limit.file_timeout_s,
        }
        self._gates = {kind: Gate(limit.max_concurrent, limit.max_waiting) for kind in self._timeouts}

    def refresh(self) -> None:
        """Read the files of the login again if they have changed; TLS is for new connections."""
        if self._login.refresh():
            self._head = _request_head(self._url, "POST", "/invocations", self._login)
            try:
                self._ssl = self._login.context(self._url)
            except errors.SettingsError as error:  # perhaps only one of two files is there yet
                logger.error("%s What was read last is used.", error)

    def gate(self, kind: str) -> Gate:
        """What requests of a kind pass."""
        return self._gates[kind]

    def check_place(self, kind: str) -> None:
        """Nothing, when a request of a kind would get a place or could wait; else raises BusyError."""
        if self._gates[kind].is_full:
            raise errors.BusyError(BUSY)

    async def invoke(
        self, request: ModelRequest, request_id: str = "", is_wanted: Callable[[], bool] = lambda: True
    ) -> ModelAnswer:
        """The model server's answer, with the request attached to it.

        `is_wanted` is asked when a request that had to wait has its turn. Once it is sent it goes on, wanted
        or not: the model server works on it either way, and must not be given more at once than it is meant
        to get.

        Raises BusyError if too many requests wait already, ClientGoneError if nobody waits for the answer any
        more, and the errors of `read_answer`, also where there is no answer.
        """
        kind = "file" if request.is_file else "explain" if request.explain else "predict"
        timeout_s = self._timeouts[kind]
        body = orjson.dumps(request)
        name = b"X-Request-ID: %b\r\n" % request_id.encode("ascii") if request_id else b""
        message = b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, name, len(body), body)
        try:
            async with asyncio.timeout(timeout_s), self._gates[kind] as has_waited:
                if has_waited and not is_wanted():
                    raise errors.ClientGoneError("The client disconnected while its request was waiting.")
                started = time.perf_counter()
                answer = await self._send(message, may_repeat=not request.is_file)
                if self._observe is not None:
                    self._observe(kind, time.perf_counter() - started)
        except TimeoutError as error:
            raise errors.ModelServerTimeoutError(
                f"The model server at {self.url} did not answer within {timeout_s:g} s."
            ) from error
        retry_after = answer.headers.get(b"retry-after", b"").decode("latin-1")
        content = read_answer(answer.status, retry_after, answer.body)
        return ModelAnswer(content, request, _version(answer))

    def again(self) -> ModelServer:
        """Another client of the same server, for another event loop."""
        return ModelServer(self._url, self._limits, login=self._login)

    async def ping(self) -> str | None:
        """Version that the model server names, if it does, with its health check; raises as `invoke` does."""
        message = _request_head(self._url, "GET", "/ping", self._login) + b"\r\n"
        try:
            async with asyncio.timeout(self._limits.predict_timeout_s):
                answer = await self._send(message, may_repeat=True)
        except TimeoutError as error:
            raise errors.ModelServerTimeoutError(
                f"The model server at {self.url} does not answer /ping."
            ) from error
        if answer.status != 200:
            raise errors.ModelServerDownError(
                f"The model server at {self.url} answered {answer.status} to /ping."
            )
        return _version(answer)

    def close(self) -> None:
        """End the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _send(self, message: bytes, *, may_repeat: bool) -> HttpAnswer:
        """Send until an answer comes or trying again is pointless; a file job gets a new connection.

        Repeated is what cannot have been carried out, because no connection came about, and what may be
        carried out twice (predictions change nothing), when the connection ended before any of the answer
        came. An answer that broke off is not asked for again: the request may be what made the server die.
        """
        for pause_s in (*RETRY_PAUSES_S, None):
            sent = False
            try:
                connection = (self._take() if may_repeat else None) or await self._connect()
                sent = True
                answer = await connection.exchange(message)
                if connection.is_open:
                    connection.idle_since = time.monotonic()
                    self._idle.append(connection)
                return answer
            except ConnectionAbortedError as error:
                raise errors.ModelServerAnswerError(
                    f"The model server at {self.url} closed the connection in the middle of its answer."
                ) from error
            except OSError as error:
                if pause_s is None or (sent and not may_repeat):
                    does = "closed the connection without an answer" if sent else "cannot be reached"
                    raise errors.ModelServerDownError(
                        f"The model server at {self.url} {does}. Is it running?"
                    ) from error
            await asyncio.sleep(pause_s)
        raise AssertionError("the last pause is None")

    def _take(self) -> Connection | None:
        """An idle connection that the server has hardly closed yet, if there is one."""
        oldest = time.monotonic() - self._limits.keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        max_bytes = self._limits.max_answer_bytes
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(max_bytes), self._host, self._port, ssl=self._ssl
                )
        except TimeoutError as error:
            raise ConnectionRefusedError("no connection in time") from error
        return connection


def _version(answer: HttpAnswer) -> str | None:
    """Version that a server names with its answer."""
    return answer.headers.get(VERSION_HEADER, b"").decode("latin-1")[:MAX_VERSION_CHARACTERS] or None


def _request_head(url: str, method: str, path: str, login: Login) -> bytes:
    """Start of a request: the line, and the headers that never change."""
    parts = urlsplit(url)
    lines = [
        f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        "Accept: application/json",
    ]
    if header := login.header(url):
        lines.append(f"Authorization: {header}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "strict")
