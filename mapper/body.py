"""The body of a request: its type, its size, its JSON."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import orjson
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import BadHttpMessage

from mapper.errors import MediaTypeError, NotJsonError, RequestTimeoutError, TooLargeError

__all__ = ["parse_body", "read_body"]


async def read_body(request: web.Request, max_bytes: int, timeout_s: float) -> bytes:
    """Body of a request.

    Raises
    ------
    MediaTypeError
        If it is not `application/json` in UTF-8.
    TooLargeError
        If it has more than `max_bytes`, after decompression.
    RequestTimeoutError
        If it does not arrive in time.
    NotJsonError
        If it is empty.
    """
    given = request.headers.get("Content-Type", "none")
    if given != "application/json" and not _is_json(request):
        raise MediaTypeError(f"Content-Type {given[:100]!r} given, application/json expected.")
    too_large = f"The body is larger than {max_bytes} bytes. Send several requests, or a file."
    if (request.content_length or 0) > max_bytes:
        raise TooLargeError(too_large)
    try:
        if request.content.is_eof():
            body = await request.read()
        else:
            async with asyncio.timeout(timeout_s):
                body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError(too_large) from error
    except TimeoutError as error:
        raise RequestTimeoutError(f"The body did not arrive within {timeout_s:g} s.") from error
    except (BadHttpMessage, ClientPayloadError, web.RequestPayloadError, ConnectionError) as error:
        raise NotJsonError(
            "The body broke off, or its Content-Encoding or Transfer-Encoding is damaged. Send it again."
        ) from error
    if not body:
        raise NotJsonError('The body is empty, a JSON object expected: {"data": ...}.')
    return body


def _is_json(request: web.Request) -> bool:
    charset = (request.charset or "utf-8").lower()
    return request.content_type == "application/json" and charset in ("utf-8", "utf8", "us-ascii")


def parse_body(body: bytes) -> tuple[Any, NotJsonError | None]:
    """JSON of a body, and the error to raise if the request turns out to have no other fault.

    JSON has no NaN and no infinity, but many programs write them. Such a body is read all the same, so that
    the fields that hold them can be named together with all other faults.

    Raises
    ------
    NotJsonError
        If the body is not JSON in any other way.
    """
    try:
        return orjson.loads(body), None
    except orjson.JSONDecodeError as error:
        not_json = NotJsonError(f"{error}.")
        not_json.__cause__ = error
    not_finite: list[str] = []

    def parse_constant(text: str) -> float:
        not_finite.append(text)
        return float(text)

    def parse_float(text: str) -> float:
        number = float(text)
        return number if math.isfinite(number) else parse_constant(text)

    try:
        content = json.loads(body, parse_constant=parse_constant, parse_float=parse_float)
    except (ValueError, RecursionError):
        raise not_json from None
    if not not_finite:
        raise not_json
    return content, not_json
