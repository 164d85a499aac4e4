"""A presigned GET as a stream of bytes that is complete or fails: counted, resumed, limited."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import re
from typing import TYPE_CHECKING

from proto_model.files.transfer.connection import (
    Connection,
    Deadline,
    Endpoint,
    Retry,
    RetryableError,
    check_status,
    cut_off_after,
    header,
)
from proto_model.files.transfer.digests import digests
from proto_model.files.transfer.errors import LimitError, TransferError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_OK = frozenset({200, 206})
_CHANGED = frozenset({412, 416})
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_READ_BYTES = 1 << 18
_END_S = 0.2


class Download(io.RawIOBase):
    """Bytes behind a presigned GET, read once from start to end.

    A connection that breaks, stalls or is refused for the moment is opened again where it broke, as long as
    the ETag shows that the file is still the same.

    Raises TransferError if the store does not send the file or the file changes in between, UrlError if the
    URL leads to a place that is not allowed, LimitError if the file is too large or the time is up.
    """

    def __init__(self, endpoint: Endpoint, deadline: Deadline) -> None:
        super().__init__()
        self._endpoint, self._settings, self._deadline = endpoint, endpoint.settings, deadline
        self._retry = Retry(endpoint, deadline)
        self._connection: Connection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._window_s, self._window_bytes, self._since_failure = 0.0, 0, 0
        self._last_modified: str | None = None
        self.n_bytes = 0
        self.total_bytes: int | None = None
        self.etag: str | None = None
        self.content_type = ""
        self._theirs: list[bytes] = []
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._retry.run(self._open, self._start_anew)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Next bytes into a buffer; 0 only when the whole file was read."""
        view = memoryview(buffer).cast("B")
        if len(view) == 0 or self._complete():
            return 0
        data = self._retry.run(lambda: self._receive(min(len(view), _READ_BYTES)), self._start_anew)
        view[: len(data)] = data
        return len(data)

    def tail(self, n_bytes: int) -> bytes:
        """Last bytes of a longer file by a request of their own, none where the store does not send them."""
        first = (self.total_bytes or 0) - n_bytes
        if first <= 0:
            return b""
        # What goes wrong here only costs time, as the whole file comes anyway.
        with contextlib.suppress(RetryableError, OSError, http.client.HTTPException):
            with contextlib.closing(self._endpoint.connect()) as connection:
                response = self._request(connection, f"bytes={first}-{first + n_bytes - 1}")
                if response.status not in _OK or _first_byte(response) != first or self._differs(response):
                    return b""
                with cut_off_after(connection.wire, self._settings.read_timeout_s):
                    data = response.read(n_bytes)
                return data if len(data) == n_bytes else b""
        return b""

    @property
    def checks(self) -> tuple[str, ...]:
        """What shows that all bytes arrived as they were: from "length", "TLS" and "MD5"."""
        secure = self._endpoint.url.scheme == "https"
        found = {"length": self._has_length, "TLS": secure, "MD5": bool(self._theirs)}
        return tuple(name for name, is_checked in found.items() if is_checked)

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _start_anew(self) -> None:
        self._drop()
        self._since_failure = 0

    def _open(self) -> None:
        """Ask for the file, or for the rest of it."""
        self._deadline.remaining_s()
        connection = self._endpoint.connect()
        self._connection = connection
        response = self._request(connection, f"bytes={self.n_bytes}-" if self.n_bytes else None)
        if self.n_bytes and (
            response.status in _CHANGED or (response.status in _OK and self._differs(response))
        ):
            raise TransferError(
                f"{self._endpoint}: the file changed during the download. Send the request again."
            )
        check_status(self._endpoint, response, _OK)
        skip = 0
        if self.n_bytes:
            first = _first_byte(response)
            if first is None:
                skip = self.n_bytes
            elif first != self.n_bytes:
                raise TransferError(f"{self._endpoint}: expected byte {self.n_bytes}, got byte {first}.")
            elif not _is_rest(header(response, "Content-Range"), first, self.total_bytes):
                raise TransferError(f"{self._endpoint}: expected the rest of the file, got a part of it.")
        else:
            self._learn(response)
        self._response = response
        self._window_s, self._window_bytes = 0.0, 0
        while skip:
            skip -= len(self._read(min(skip, _READ_BYTES)))

    def _request(self, connection: Connection, byte_range: str | None) -> http.client.HTTPResponse:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
        if byte_range is not None:
            headers["Range"] = byte_range
            if self.etag and self.etag.startswith('"'):
                headers["If-Match"] = self.etag
        self._endpoint.send_head(connection, "GET", headers)
        return self._endpoint.answer(connection)

    def _learn(self, response: http.client.HTTPResponse) -> None:
        """Take length, ETag and type from the first answer, which has to be the whole file."""
        length = header(response, "Content-Length")
        chunked = (header(response, "Transfer-Encoding") or "").lower() == "chunked"
        if not chunked and not (length or "").isdigit():
            raise TransferError(
                f"{self._endpoint}: the answer has no length, so a broken download would go unnoticed."
            )
        self.total_bytes = None if chunked else int(length or 0)
        self._has_length = not chunked
        said = header(response, "Content-Range")
        if (response.status == 206 or said is not None) and not _is_rest(said, 0, None):
            raise TransferError(
                f"{self._endpoint}: the whole file was asked for, the answer is {response.status} with "
                f"{said or 'a part'}. Does the URL sign a Range, or is there a proxy in between?"
            )
        self._limit(self.total_bytes or 0)
        self.etag = header(response, "ETag")
        self._last_modified = header(response, "Last-Modified")
        self.content_type = header(response, "Content-Type") or ""
        if self._endpoint.url.scheme == "http":  # TLS finds what changes on the way, at no cost here
            self._theirs = digests(response, self._endpoint.url.kind)

    def _differs(self, response: http.client.HTTPResponse) -> bool:
        """Whether an answer is about another version of the file, or cannot be told to be about the same."""
        if self.etag is not None:
            return header(response, "ETag") != self.etag
        return self._last_modified is None or header(response, "Last-Modified") != self._last_modified

    def _receive(self, n_bytes: int) -> bytes:
        if self._response is None:
            self._open()
        data = self._read(n_bytes)
        self.n_bytes += len(data)
        self._limit(self.n_bytes)
        self._since_failure += len(data)
        if self._since_failure > self._settings.min_bytes_per_s * self._settings.read_timeout_s:
            self._retry.failures = 0  # a byte now and then does not count
        if self._theirs:
            self._md5.update(data)
        if not data:
            self.total_bytes = self.n_bytes  # the last chunk of a chunked answer has come
        elif self._complete():
            self._check_end()
        if self._complete() and any(digest != self._md5.digest() for digest in self._theirs):
            raise TransferError(
                f"{self._endpoint}: other bytes came than the store says it holds (MD5 differs). "
                "Send the request again, and use https."
            )
        return data

    def _check_end(self) -> None:
        """Raise TransferError when the answer goes on: its length is wrong then, and the file incomplete."""
        assert self._response is not None
        assert self._connection is not None
        reader = self._response.fp
        if reader is None:  # newer versions of http.client let go of it here
            return
        self._connection.wire.settimeout(_END_S)  # the store was asked to close the connection, but may not
        more = b""
        with contextlib.suppress(OSError):
            more = reader.read1(1)
        if more:
            raise TransferError(
                f"{self._endpoint}: the answer is longer than the {self.total_bytes} bytes it announced. "
                "Is there a proxy in between that changes answers?"
            )

    def _read(self, n_bytes: int) -> bytes:
        """Bytes from the connection, at least one unless a chunked answer is over."""
        assert self._response is not None
        started = self._deadline.clock()
        if self.total_bytes is not None:
            n_bytes = min(n_bytes, self.total_bytes - self.n_bytes)
            self._response.length = n_bytes + 1  # at 0, Python 3.13 closes what `_check_end` has to read
        data = self._response.read1(n_bytes)
        self._window_s += self._deadline.clock() - started
        self._window_bytes += len(data)
        self._deadline.remaining_s()
        if not data and self.total_bytes is not None:
            raise RetryableError(f"the download broke after {self.n_bytes} of {self.total_bytes} bytes")
        if self._window_s >= self._settings.read_timeout_s:
            if self._window_bytes < self._settings.min_bytes_per_s * self._window_s:
                raise RetryableError(
                    f"too slow: {self._window_bytes} bytes in {self._window_s:.0f} s, expected at least "
                    f"{self._settings.min_bytes_per_s} per second"
                )
            self._window_s, self._window_bytes = 0.0, 0
        return data

    def _limit(self, n_bytes: int) -> None:
        if n_bytes > self._settings.max_input_bytes:
            raise LimitError(
                f"{self._endpoint}: the file is too large, at least {n_bytes} bytes. The limit is "
                f"{self._settings.max_input_bytes} bytes (PROTO_MODEL_FILES_MAX_INPUT_BYTES)."
            )

    def _complete(self) -> bool:
        return self.total_bytes is not None and self.n_bytes >= self.total_bytes

    def _drop(self) -> None:
        self._response = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_rest(content_range: str | None, first: int, total_bytes: int | None) -> bool:
    """Whether a range is known to be all of a file from a byte on."""
    found = _RANGE.fullmatch(content_range or "")
    if found is None:
        return False
    size = total_bytes if found[3] == "*" else int(found[3])
    return int(found[1]) == first and int(found[2]) + 1 == size and total_bytes in (None, size)


def _first_byte(response: http.client.HTTPResponse) -> int | None:
    """First byte by Content-Range; rclone sends one with status 200."""
    found = _RANGE.fullmatch(header(response, "Content-Range") or "")
    return int(found[1]) if found else None
