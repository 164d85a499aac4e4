"""One HTTP/1.1 connection to the model server, kept open from request to request.

It does what the model server needs and no more: one request at a time, no redirects, cookies, proxies or
compression. docs/decisions.md has the figures for why it is not a library's.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

import httptools

from mapper.errors import ModelServerAnswerError

MAX_HEAD_BYTES = 64 * 1024


class HttpAnswer(NamedTuple):
    """Status, headers with lower-case names, and body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """Sends a request and collects its answer, whose body has at most so many bytes."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._fault: ModelServerAnswerError | None = None
        self._start()
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> HttpAnswer:
        """The answer to a request, given as it goes over the wire.

        Raises ConnectionError if the connection ends before the answer does (ConnectionAbortedError when part
        had arrived), ModelServerAnswerError if what arrives is not HTTP, or too large.
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
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop; ends an answer that has no length, breaks off any other."""
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            headers = self._headers
            has_length = b"content-length" in headers or b"transfer-encoding" in headers
            if self._status and not has_length and exc is None:
                self._waiter.set_result(HttpAnswer(self._status, headers, b"".join(self._body)))
            elif self._has_begun:
                self._waiter.set_exception(ConnectionAbortedError("closed in the middle of its answer"))
            else:
                self._waiter.set_exception(ConnectionResetError("closed before it answered"))
        del self._parser  # they hold each other

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._waiter is None or self._waiter.done():  # an answer nobody asked for
            self.close()
            return
        self._has_begun = True
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
            if self._unparsed > MAX_HEAD_BYTES:
                raise httptools.HttpParserError("no end of the headers")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._waiter.done():
                fault = ModelServerAnswerError("What the model server sent is not HTTP. Is its URL right?")
                fault.__cause__ = error
                self._waiter.set_exception(self._fault or fault)
            self.close()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._waiter is None or self._waiter.done():
            raise ValueError("a second answer to one request")  # it would be taken for the next one's

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._status = self._parser.get_status_code()
        if int(self._headers.get(b"content-length", b"0")) > self._max_body_bytes:
            self._stop_parsing()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._unparsed = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._stop_parsing()
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status, headers, body = self._status, self._headers, self._body
        self._start()
        if 100 <= status < 200:  # an interim answer; the real one follows
            return
        assert self._waiter is not None
        self._waiter.set_result(HttpAnswer(status, headers, body[0] if len(body) == 1 else b"".join(body)))
        if not self._parser.should_keep_alive():
            self.close()

    def _start(self) -> None:
        """Be ready for an answer."""
        self._has_begun = False
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unparsed = 0  # bytes since the last one of a body: headers must not be endless

    def _stop_parsing(self) -> None:
        self._fault = ModelServerAnswerError(
            f"The model server's answer has more than {self._max_body_bytes} bytes."
        )
        raise self._fault
