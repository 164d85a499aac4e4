"""A presigned PUT of a finished file: sent whole, with its length, and checked against what the store has."""

from __future__ import annotations

import base64
import contextlib
import http.client
from dataclasses import dataclass
from typing import IO

from proto_model.files.transfer.connection import (
    Connection,
    Deadline,
    Endpoint,
    Retry,
    RetryableError,
    check_status,
    header,
)
from proto_model.files.transfer.digests import digests
from proto_model.files.transfer.errors import TransferError, UrlError

_OK = frozenset({200, 201, 204})
_SEND_BYTES = 1 << 18

# Kinds of signature that let other headers along: the store then refuses what is damaged on its way, instead
# of replacing the object by it. The older ones cover `Content-MD5` even where it is absent.
_TAKE_MD5 = frozenset({"s3v4", "gcs", "azure"})

# What a signed URL may ask for that follows from the file itself.
_KNOWN = frozenset({"content-type", "content-length", "content-md5", "x-amz-content-sha256"})


@dataclass(frozen=True)
class Content:
    """A finished file, sent from its start; the media type is sent only if the URL signs `Content-Type`."""

    file: IO[bytes]
    n_bytes: int
    md5: bytes
    media_type: str


def check_signed_headers(endpoint: Endpoint) -> None:
    """Raise UrlError when a URL signs a header whose value cannot be known here."""
    unknown = [key for key in endpoint.url.signed_headers if key not in _KNOWN]
    if unknown:
        raise UrlError(
            f"{endpoint}: the URL signs the headers {unknown}, whose values are not known here. "
            f"Sign only headers among {sorted(_KNOWN)}."
        )


@dataclass(frozen=True)
class Stored:
    """What a store says of an uploaded file: its ETag, and what shows that all bytes arrived as they were.

    `checks` are from "TLS", "MD5 sent" (the store refuses other bytes) and "MD5 confirmed" (by its answer).
    """

    etag: str | None
    checks: tuple[str, ...]


def upload(endpoint: Endpoint, content: Content, deadline: Deadline) -> Stored:
    """Upload a file.

    Raises TransferError if the store does not accept the file or received other bytes than were sent,
    UrlError if the URL leads to a place that is not allowed or signs headers that are not known.
    """
    return Retry(endpoint, deadline).run(lambda: _attempt(endpoint, content, deadline))


def _attempt(endpoint: Endpoint, content: Content, deadline: Deadline) -> Stored:
    headers = _headers(endpoint, content)
    with contextlib.closing(endpoint.connect()) as connection:
        endpoint.send_head(connection, "PUT", headers)
        whole = True
        try:
            _send(connection, content, deadline)
        except TimeoutError:
            raise
        except OSError:  # of which TLS has its own kinds
            whole = False  # a store that refuses may answer and hang up before it has read everything
        response = endpoint.answer(connection)
        check_status(endpoint, response, _OK)
        if not whole:
            raise RetryableError("the store accepted the file before it had all of it")
        with contextlib.suppress(OSError, http.client.HTTPException):
            response.read(_SEND_BYTES)
        checks = ["TLS"] if endpoint.url.scheme == "https" else []
        checks += ["MD5 sent"] if "content-md5" in headers else []
        theirs = digests(response, endpoint.url.kind)
        if any(digest != content.md5 for digest in theirs):
            raise RetryableError(
                "the store received other bytes than were sent (MD5 differs); "
                "what it holds now may be damaged"
            )
        checks += ["MD5 confirmed"] if theirs else []
        return Stored(header(response, "ETag"), tuple(checks))


def _headers(endpoint: Endpoint, content: Content) -> dict[str, str]:
    check_signed_headers(endpoint)
    values = {
        "content-type": content.media_type,
        "content-md5": base64.b64encode(content.md5).decode(),
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    headers = {"Content-Length": str(content.n_bytes), "Connection": "close"}
    if endpoint.url.kind == "azure":
        headers["x-ms-blob-type"] = "BlockBlob"
    sent = set(endpoint.url.signed_headers)
    sent |= {"content-md5"} if endpoint.url.kind in _TAKE_MD5 else set()
    return headers | {key: value for key, value in values.items() if key in sent}


def _send(connection: Connection, content: Content, deadline: Deadline) -> None:
    content.file.seek(0)
    left = content.n_bytes
    while left:
        deadline.remaining_s()
        block = content.file.read(min(_SEND_BYTES, left))
        if not block:
            raise TransferError("The temporary file became shorter. Check the disk of the temporary folder.")
        connection.send(block)
        left -= len(block)
