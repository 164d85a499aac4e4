"""A presigned PUT of a finished file: sent whole, with its length, and checked against what the store has."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
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
from proto_model.files.transfer.errors import TransferError, UrlError

_OK = frozenset({200, 201, 204})
_MD5_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
_SEND_BYTES = 1 << 18

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


def upload(endpoint: Endpoint, content: Content, deadline: Deadline) -> str | None:
    """Upload a file; its ETag, which was checked where it is an MD5.

    Raises TransferError if the store does not accept the file or received other bytes than were sent,
    UrlError if the URL leads to a place that is not allowed or signs headers that are not known.
    """
    return Retry(endpoint, deadline).run(lambda: _attempt(endpoint, content, deadline))


def _attempt(endpoint: Endpoint, content: Content, deadline: Deadline) -> str | None:
    with contextlib.closing(endpoint.connect()) as connection:
        endpoint.send_head(connection, "PUT", _headers(endpoint, content))
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
        return _verified_etag(endpoint, response, content)


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
    return headers | {key: values[key] for key in endpoint.url.signed_headers if key in values}


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


def _verified_etag(endpoint: Endpoint, response: http.client.HTTPResponse, content: Content) -> str | None:
    """ETag of the answer; RetryableError when the store names a digest that is not the file's."""
    etag = header(response, "ETag")
    encrypted = (header(response, "x-amz-server-side-encryption") or "").startswith("aws:kms")
    customer_key = header(response, "x-amz-server-side-encryption-customer-algorithm") is not None
    theirs: list[bytes] = []
    found = _MD5_ETAG.fullmatch(etag or "")
    if found and endpoint.url.kind != "azure" and not encrypted and not customer_key:
        theirs.append(bytes.fromhex(found[1]))
    for text in (header(response, "Content-MD5"), _goog_md5(response)):
        if text:
            with contextlib.suppress(ValueError):
                theirs.append(base64.b64decode(text, validate=True))
    if any(digest != content.md5 for digest in theirs):
        raise RetryableError("the store received other bytes than were sent (MD5 differs)")
    return etag


def _goog_md5(response: http.client.HTTPResponse) -> str | None:
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(response.headers.get_all("x-goog-hash") or []))
    return found[1] if found else None
