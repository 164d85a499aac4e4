"""One HTTP/1.1 connection to the model server, kept open from request to request.

A client of our own, for one reason: in front of a constant server a pass-through answered 17 500 requests a
second with one like it and 8 000 with aiohttp's (2026-11, one core, 16 clients). It does what the model
server needs and no more: one request at a time, no redirects, no cookies, no proxies, no compression.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from mapper.errors import ModelServerAnswerError

__all__ = ["Connection", "HttpAnswer"]

MAX_HEAD_BYTES = 64 * 1024


class HttpAnswer(NamedTuple):
    """Status, headers with lower-case names, and body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """Sends a request, collects its answer.

    Parameters
    ----------
    max_body_bytes : int
        Largest body that is taken.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._received = bytearray()
        self._head: tuple[int, dict[bytes, bytes]] | None = None
        self._body_bytes: int | None = None
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> HttpAnswer:
        """The answer to a request, given as it goes over the wire.

        Raises
        ------
        ConnectionError
            If the connection ends before the answer does; `ConnectionAbortedError` when part had arrived.
        ModelServerAnswerError
            If what arrives is not HTTP, or too large.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed while it was idle")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            return await self._waiter
        except BaseException:  # an answer may still come: nobody else may get it
            self.close()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop; ends an answer that has no length, breaks off any other."""
        self._transport = None
        if self._waiter is None or self._waiter.done():
            return
        if self._head is not None and self._body_bytes is None and exc is None and not self._is_chunked():
            self._finish(bytes(self._received))
        elif self._head is not None or self._received:
            self._waiter.set_exception(ConnectionAbortedError("closed in the middle of its answer"))
        else:
            self._waiter.set_exception(ConnectionResetError("closed before it answered"))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._waiter is None or self._waiter.done():  # an answer nobody asked for
            self.close()
            return
        self._received += data
        try:
            self._advance()
        except (ValueError, ModelServerAnswerError) as error:
            if not isinstance(error, ModelServerAnswerError):
                error = ModelServerAnswerError("What the model server sent is not HTTP. Is its URL right?")
            self._waiter.set_exception(error)
            self.close()

    def _advance(self) -> None:
        """Use what has arrived so far."""
        while self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                if len(self._received) > MAX_HEAD_BYTES:
                    raise ValueError("no end of the headers")
                return
            head = bytes(self._received[:end])
            del self._received[: end + 4]
            self._start_body(*_parse_head(head))
        if self._body_bytes is not None:
            if len(self._received) >= self._body_bytes:
                body = bytes(self._received[: self._body_bytes])
                del self._received[: self._body_bytes]
                self._finish(body)
        elif len(self._received) > self._max_body_bytes:
            raise self._too_large()
        elif self._is_chunked() and (body_or_none := _dechunk(self._received)) is not None:
            self._received.clear()
            self._finish(body_or_none)

    def _start_body(self, status: int, headers: dict[bytes, bytes]) -> None:
        if 100 <= status < 200:  # an interim answer; the real one follows
            return
        self._head = status, headers
        if status in (204, 304):
            self._body_bytes = 0
        elif b"transfer-encoding" not in headers and b"content-length" in headers:
            length = headers[b"content-length"]
            if not length.isdigit():
                raise ValueError("content-length is not a number")
            self._body_bytes = int(length)
            if self._body_bytes > self._max_body_bytes:
                raise self._too_large()

    def _is_chunked(self) -> bool:
        return self._head is not None and b"chunked" in self._head[1].get(b"transfer-encoding", b"").lower()

    def _too_large(self) -> ModelServerAnswerError:
        return ModelServerAnswerError(
            f"The model server's answer has more than {self._max_body_bytes} bytes."
        )

    def _finish(self, body: bytes) -> None:
        assert self._waiter is not None
        assert self._head is not None
        status, headers = self._head
        has_end = self._body_bytes is not None or self._is_chunked()
        self._head = self._body_bytes = None
        self._waiter.set_result(HttpAnswer(status, headers, body))
        if (
            self._received
            or not has_end
            or headers.get(b"connection", b"").lower() == b"close"
            or headers[b":version"] == b"HTTP/1.0"
        ):
            self.close()


def _parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers; the protocol's version stands under `:version`."""
    first, *lines = head.split(b"\r\n")
    version, status, *_ = first.split(b" ", 2)
    if not version.startswith(b"HTTP/1.") or len(status) != 3:
        raise ValueError("not a status line")
    headers = {b":version": version}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError("not a header")
        headers[name.lower()] = value.strip()
    return int(status), headers


def _dechunk(received: bytearray) -> bytes | None:
    """Body of a chunked answer, None while its end has not arrived."""
    if not received.endswith(b"\r\n\r\n"):  # after the last chunk and its trailers
        return None
    parts: list[bytes] = []
    position = 0
    while (end := received.find(b"\r\n", position)) >= 0:
        size = int(received[position:end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(parts)
        start = end + 2
        parts.append(bytes(received[start : start + size]))
        position = start + size + 2
    return None
