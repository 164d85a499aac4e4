"""HTTP requests and answers as the service sees them, apart from how they travel."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from mapper.errors import MapperError

__all__ = ["Answer", "Request"]

PHRASES = {status.value: status.phrase for status in HTTPStatus}
JSON = "application/json"


class Request:
    """A request that has arrived, or as much of one as could be read.

    Attributes
    ----------
    method : str
        Such as `POST`; empty when not even that could be read.
    target : bytes
        Path and query as they were sent.
    headers : dict
        Values by lower-case name; the last one where a name came twice.
    started : float
        `time.perf_counter()` of its head.
    body : bytes
        As it was sent, which may be compressed.
    fault : MapperError or None
        Why the request could not be read to its end.
    is_last : bool
        Whether the connection ends with its answer.
    is_wanted : bool
        Whether the client is still there.
    """

    __slots__ = ("body", "fault", "headers", "is_last", "is_wanted", "method", "started", "target")

    def __init__(self, method: str, target: bytes, headers: dict[bytes, bytes], started: float) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.started = started
        self.body = b""
        self.fault: MapperError | None = None
        self.is_last = False
        self.is_wanted = True

    @property
    def path(self) -> str:
        """Path without query, decoded; that of an absolute URL, which proxies send, as well."""
        text = self.target.partition(b"?")[0].decode("latin-1")
        try:
            return unquote(text if text.startswith("/") else urlsplit(text).path)
        except ValueError:
            return text

    def header(self, name: bytes) -> str:
        """Value of a header given by its lower-case name, empty when there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Answer(NamedTuple):
    """What goes back: the status, the body, and headers besides those that every answer has."""

    body: bytes
    media_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = {}

    def encode(self, request: Request, request_id: str, date: str) -> bytes:
        """The answer to a request as it goes over the wire."""
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()) if self.headers else ""
        if request.is_last:
            more += "Connection: close\r\n"
        elif b"connection" in request.headers:  # HTTP/1.0 has to be told
            more += "Connection: keep-alive\r\n"
        head = (
            f"HTTP/1.1 {self.status} {PHRASES[self.status]}\r\nContent-Type: {self.media_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nX-Request-ID: {request_id}\r\nDate: {date}\r\n{more}\r\n"
        ).encode("latin-1")
        return head if request.method == "HEAD" else head + self.body
