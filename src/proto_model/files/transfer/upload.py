"""A presigned PUT of a finished file: sent whole, with its length, and checked against what the store has."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import time
from collections.abc import Callable
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
from proto_model.files.transfer.guard import Resolver
from proto_model.files.transfer.settings import FileSettings
from proto_model.files.transfer.url import PresignedUrl

__all__ = ["Content", "check_signed_headers", "upload"]

_OK = frozenset({200, 201, 204})
_MD5_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
_SEND_BYTES = 1 << 18

# What a signed URL may ask for that follows from the file itself.
_KNOWN = frozenset({"content-type", "content-length", "content-md5", "x-amz-content-sha256"})


@dataclass(frozen=True)
class Content:
    """A finished file.

    Parameters
    ----------
    file : binary file
        Positioned anywhere; sent from its start.
    n_bytes : int
        Its length.
    md5 : bytes
        Digest of all its bytes, 16 bytes long.
    media_type : str
        Sent as `Content-Type` where the URL signs that header, else not at all.
    """

    file: IO[bytes]
    n_bytes: int
    md5: bytes
    media_type: str


def check_signed_headers(url: PresignedUrl, name: str) -> None:
    """Raise UrlError when a URL signs a header whose value cannot be known here."""
    unknown = [key for key in url.signed_headers if key not in _KNOWN]
    if unknown:
        raise UrlError(
            f"{name} {url}: signed with the headers {unknown}, whose values are not known here. Sign the URL "
            f"without them; {sorted(_KNOWN)} are understood."
        )


def upload(
    url: PresignedUrl,
    name: str,
    content: Content,
    settings: FileSettings,
    deadline: Deadline,
    *,
    resolve: Resolver = socket.getaddrinfo,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """ETag that the store gives a finished file, which was checked where it is an MD5.

    Parameters
    ----------
    url : PresignedUrl
        Where the file goes.
    name : str
        What the URL is called in messages.
    content : Content
        The file.
    settings : FileSettings
        Waits and the guard's lists.
    deadline : Deadline
        When the whole job has to be done.
    resolve, sleep : callable
        `socket.getaddrinfo` and `time.sleep`, unless a test says otherwise.

    Raises
    ------
    TransferError
        If the store does not take the file, or has other bytes than were sent.
    UrlError
        If the URL leads to a place that is not allowed, or signs headers that are not known.
    """
    endpoint = Endpoint(url, name, settings, resolve)
    retry = Retry(str(endpoint), settings, deadline, sleep)
    return retry.run(lambda: _attempt(endpoint, content, deadline))


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
            raise RetryableError("it accepted the file before it had all of it")
        with contextlib.suppress(OSError, http.client.HTTPException):
            response.read(_SEND_BYTES)
        return _verified_etag(endpoint, response, content)


def _headers(endpoint: Endpoint, content: Content) -> dict[str, str]:
    check_signed_headers(endpoint.url, endpoint.name)
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
            raise TransferError(
                "The finished file is shorter than it was: is the temporary folder's disk sound?"
            )
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
        raise RetryableError("the store has other bytes than were sent (by its MD5)")
    return etag


def _goog_md5(response: http.client.HTTPResponse) -> str | None:
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(response.headers.get_all("x-goog-hash") or []))
    return found[1] if found else None
