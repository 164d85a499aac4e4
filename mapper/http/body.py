"""Requests and answers as the service sees them, and how the body of a request is read."""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import orjson

from mapper.errors import ContentEncodingError, MediaTypeError, NotJsonError, TooLargeError
from mapper.http.connection import read_body, reserve
from mapper.http.problem import ENCODINGS
from mapper.mapping.request import MAX_ROWS, ModelRequest

JSON = "application/json"
EXAMPLE = 'Send a JSON object such as {"data": {...}}.'

UTF_8 = ("utf-8", "utf8", "us-ascii")
HUGE = 1 << 1024  # stands for whole numbers of more digits than a float can have
SPARE_PARTS = 100_000  # lists and objects in JSON besides two for each row
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # whichever its first bytes say


class Request:
    """A request whose head has arrived; `headers` has lower-case names."""

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.root_path: str = scope.get("root_path", "")  # what came before the path
        self.scheme: str = scope.get("scheme", "http")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.client: str = scope.get("client_name", "")  # whose token came along, empty without one
        self._scope = scope
        self._receive = receive

    def header(self, name: bytes) -> str:
        """Value of a header given by its lower-case name, empty when there is none."""
        return self.headers.get(name, b"").decode("latin-1")

    def is_wanted(self) -> bool:
        """Whether the client is still there: one that has closed its direction is most likely gone."""
        connection = self._scope["connection"]
        return not (connection.is_half_closed or connection.transport.is_closing())

    async def body(self, max_bytes: int) -> bytes:
        """Body as it was sent, which may be compressed; raises what `read_body` does."""
        return await read_body(self._scope, self._receive, max_bytes)

    async def decoded_body(self, max_bytes: int) -> bytes:
        """Body as it was before compression; raises what `body` and `decoded_body` do."""
        body = await self.body(max_bytes)
        check_media_type(self)
        if b"content-encoding" not in self.headers:
            return decoded_body(self, body, max_bytes)
        body = await asyncio.to_thread(decoded_body, self, body, max_bytes)
        reserve(self._scope, len(body))
        return body


class Answer(NamedTuple):
    """What goes back: the status, the body, and headers besides those that every answer has."""

    body: bytes
    media_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = {}


def check_media_type(request: Request) -> None:
    """Nothing, when the body is JSON in UTF-8; raises MediaTypeError when its header does not say so."""
    if request.headers.get(b"content-type") == b"application/json":
        return
    given = request.header(b"content-type")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind != JSON:
        shown = f"Content-Type {given[:80]!r}" if given else "No Content-Type"
        raise MediaTypeError(f"{shown} given, {JSON} expected.")
    for parameter in filter(None, parameters):
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name != "charset" or value.strip('"') not in UTF_8:
            raise MediaTypeError(f"Content-Type {given[:80]!r} given, only charset=utf-8 is understood.")


def decoded_body(request: Request, body: bytes, max_bytes: int) -> bytes:
    """Body of a request as it was before compression, of at most `max_bytes`.

    Raises ContentEncodingError, TooLargeError, or NotJsonError if it is empty or damaged.
    """
    if b"content-encoding" in request.headers:
        encoding = request.header(b"content-encoding").strip().lower()
        if encoding in ENCODINGS:
            body = _decompressed(body, encoding, max_bytes)
        elif encoding not in ("", "identity"):
            raise ContentEncodingError(
                f"Content-Encoding {encoding[:100]!r} given, {', '.join(ENCODINGS)} or none expected."
            )
    if not body:
        raise NotJsonError(f"The body is empty. {EXAMPLE}")
    return body


def _decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        decoded = decompressor.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise NotJsonError(
            f"The body is damaged, or not {encoding} as its Content-Encoding says. "
            "Compress it, or leave the header out."
        ) from error
    if len(decoded) > max_bytes:
        raise TooLargeError(
            f"The body is larger than {max_bytes} bytes when decompressed. Send several requests, or a file."
        )
    if not decompressor.eof or decompressor.unused_data:
        raise NotJsonError(
            f"The body, {encoding} by its Content-Encoding, breaks off, or more follows it. Send it again."
        )
    return decoded


def parse_body(body: bytes, max_rows: int = MAX_ROWS) -> tuple[Any, NotJsonError | None]:
    """JSON of a body, and the error to raise if what is unusual in it cannot be sent on (`check_sendable`).

    Many programs write NaN, numbers of hundreds of digits, halves of surrogate pairs, a byte order mark, or
    UTF-16. The model server reads them, and so does the mapper: values mean what the rule book says.
    Raises NotJsonError if the body is not JSON in any other way, and TooLargeError before it reads more lists
    and objects than so many rows can need: in memory, each takes twenty times its two characters.
    """
    most = 2 * max_rows + SPARE_PARTS
    if len(body) > most and body.count(b"[") + body.count(b"{") > most:
        raise TooLargeError(f"The body has more than {most} lists and objects. Send fewer rows at a time.")
    try:
        return orjson.loads(body), None
    except orjson.JSONDecodeError as error:
        not_json = NotJsonError(f"The body is not JSON in UTF-8: {error}. {EXAMPLE}")
        not_json.__cause__ = error

    def parse_int(text: str) -> int:
        if math.isfinite(float(text)):
            return int(text)
        return -HUGE if text.startswith("-") else HUGE

    try:
        return json.loads(body, parse_int=parse_int), not_json
    except (ValueError, RecursionError):
        raise not_json from None


def check_sendable(request: ModelRequest, not_json: NotJsonError) -> None:
    """Nothing, if a request can be sent on and its session back; else raises the error.

    Not all that Python reads can be written as JSON: NaN in the session would come back as null.
    """
    try:
        orjson.dumps([request, request.session])
        json.dumps(request.session, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise not_json from None
