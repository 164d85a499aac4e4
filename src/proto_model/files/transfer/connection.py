"""One HTTP exchange with a store: a pinned connection, the answer's head, and when to try again."""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import logging
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

from proto_model.files.transfer.errors import LimitError, TransferError
from proto_model.files.transfer.guard import Address, Resolver, vetted_addresses
from proto_model.files.transfer.settings import FileSettings
from proto_model.files.transfer.url import PresignedUrl

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_RETRYABLE_CODES = frozenset(
    # The last two: what arrived is not what was sent.
    {
        "RequestTimeout",
        "SlowDown",
        "ServerBusy",
        "InternalError",
        "OperationAborted",
        "BadDigest",
        "Md5Mismatch",
    }
)
_ERROR_BODY_BYTES = 16_384
_SAID_CHARACTERS = 200


class RetryableError(Exception):
    """An attempt failed in a way that may pass; the message says how, without the URL."""

    retry_after_s: float | None = None


class Deadline:
    """When a job must be done; `go_on` is called at every look at the time and may end the job by raising."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock, self.sleep = clock, sleep
        self.seconds = seconds
        self._ends = clock() + seconds
        self._go_on = go_on

    def remaining_s(self) -> float:
        """Seconds that are left; raises LimitError when there are none."""
        self._go_on()
        left = self._ends - self.clock()
        if left <= 0:
            raise LimitError(
                f"The job took longer than {self.seconds:g} s: the limit is PROTO_MODEL_FILES_MAX_JOB_S, or "
                "the expiry of its output_url."
            )
        return left

    def check(self) -> None:
        """Raise LimitError when the time is up."""
        self.remaining_s()


def check_descriptors(error: BaseException) -> None:
    """Raise LimitError if this process may open no more files: the store is not to blame then."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise LimitError(
            "The server has too many files open. Raise its limit (`ulimit -n`), or send fewer jobs at a time."
        ) from None


class Retry:
    """Counts attempts without progress and waits between them."""

    def __init__(self, endpoint: Endpoint, deadline: Deadline) -> None:
        self._endpoint, self._deadline = endpoint, deadline
        self.failures = 0

    def run(self, action: Callable[[], T], after_failure: Callable[[], None] = lambda: None) -> T:
        """Result of an action, which is tried until it works or fails for good."""
        while True:
            try:
                return action()
            except RetryableError as error:
                failure = error.with_traceback(None)  # or a cycle keeps the frames, and what they hold
            except (OSError, http.client.HTTPException) as error:
                check_descriptors(error)
                failure = RetryableError(f"the connection broke ({type(error).__name__})")
            after_failure()
            self.wait(failure)

    def wait(self, error: RetryableError) -> None:
        """Wait before the next try; raises TransferError when there were enough of them."""
        settings = self._endpoint.settings
        self.failures += 1
        if self.failures >= settings.max_attempts:
            raise TransferError(
                f"{self._endpoint}: gave up after {self.failures} attempts. The last error: {error}."
            ) from None
        pause = settings.backoff_s * 2 ** (self.failures - 1) * random.uniform(0.5, 1.0)
        pause = max(pause, error.retry_after_s or 0.0)
        pause = min(pause, settings.max_backoff_s, self._deadline.remaining_s())
        logger.info(
            "%s: attempt %d failed (%s); retry in %.1f s", self._endpoint, self.failures, error, pause
        )
        self._deadline.sleep(pause)
        self._deadline.remaining_s()


class _Head(io.BufferedReader):
    """A reader that remembers the last line."""

    line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.line = super().readline(size)
        return self.line


class _Answer(http.client.HTTPResponse):
    """An answer whose head came whole; http.client takes what came before a break for all of it."""

    def begin(self) -> None:
        head = self.fp = _Head(self.fp.detach())
        super().begin()
        if not head.line.endswith(b"\n"):
            raise http.client.HTTPException("the head of the answer broke off")


class Connection(http.client.HTTPConnection):
    """HTTP over a socket to an address that was vetted, whatever the name now says."""

    response_class = _Answer

    def __init__(
        self, url: PresignedUrl, address: Address, settings: FileSettings, context: ssl.SSLContext | None
    ) -> None:
        super().__init__(url.host, url.port, timeout=settings.connect_timeout_s)
        self._address, self._context, self._read_timeout_s = address, context, settings.read_timeout_s
        self._answer: http.client.HTTPResponse | None = None

    def getresponse(self) -> http.client.HTTPResponse:
        """The answer's status and headers."""
        self._answer = super().getresponse()
        return self._answer

    def connect(self) -> None:
        """Open the socket and, for https, check the certificate against the URL's host."""
        raw = socket.create_connection((str(self._address), self.port), self.timeout)
        self.wire: socket.socket = raw  # http.client forgets `sock` once the answer's head is read
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            with cut_off_after(raw, self.timeout or 0):
                self.wire = self._context.wrap_socket(raw, server_hostname=self.host)
        self.wire.settimeout(self._read_timeout_s)
        self.sock = self.wire

    def close(self) -> None:
        """Close the socket, also where an answer that was not read to its end still holds it."""
        if self._answer is not None:
            self._answer.close()
        super().close()


class Endpoint:
    """Where the requests of one URL go; messages call the URL `name`."""

    def __init__(
        self, url: PresignedUrl, name: str, settings: FileSettings, resolve: Resolver = socket.getaddrinfo
    ) -> None:
        self.url, self.name, self.settings, self._resolve = url, name, settings, resolve
        self._context = (
            ssl.create_default_context(cafile=settings.ca_file or None) if url.scheme == "https" else None
        )

    def __str__(self) -> str:
        """Name and URL, without its query."""
        return f"{self.name} {self.url}"

    def addresses(self) -> list[Address]:
        """Addresses that a connection may go to."""
        return vetted_addresses(self.url, self.name, self.settings, self._resolve)

    def connect(self) -> Connection:
        """An open connection; raises RetryableError when none of the addresses answers."""
        failure = ""  # its text, because a kept exception keeps the frames, and with them a reader's buffer
        for address in self.addresses():
            connection = Connection(self.url, address, self.settings, self._context)
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                connection.close()
                raise TransferError(
                    f"{self}: the certificate is not trusted ({error.verify_message}). An operator can set "
                    "other certificate authorities with PROTO_MODEL_FILES_CA_FILE."
                ) from None
            except OSError as error:
                connection.close()
                check_descriptors(error)
                failure = f"{type(error).__name__}: {error}"
            else:
                return connection
        raise RetryableError(f"no connection ({failure})") from None

    def send_head(self, connection: Connection, method: str, headers: Mapping[str, str]) -> None:
        """Send the request line, byte for byte as signed, and the headers."""
        connection.putrequest(method, self.url.target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self.url.netloc)
        for key, value in headers.items():
            connection.putheader(key, value)
        connection.endheaders()

    def answer(self, connection: Connection) -> http.client.HTTPResponse:
        """The answer's status and headers, within the read timeout in all."""
        with cut_off_after(connection.wire, self.settings.read_timeout_s):
            return connection.getresponse()


@contextlib.contextmanager
def cut_off_after(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a socket down when the block takes longer; a socket's own timeout begins anew with every byte."""

    def shut() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_status(endpoint: Endpoint, response: http.client.HTTPResponse, accepted: frozenset[int]) -> None:
    """Nothing for an accepted status, RetryableError for one that may pass, TransferError for the others."""
    if response.status in accepted:
        return
    if 300 <= response.status < 400:
        # The location may hold a signature, so only its host is shown.
        raise TransferError(
            f"{endpoint}: answered {response.status}, a redirect to {_host(header(response, 'Location'))}. "
            "Redirects are not followed. Sign the URL for the host that holds the file."
        )
    body = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = response.read(_ERROR_BODY_BYTES)
    code, message, reason = (
        _shown(endpoint, text)
        for text in (_element(body, b"Code"), _element(body, b"Message"), response.reason or "")
    )
    said = f"{response.status} {code or reason}{f' ({message})' if message else ''}"
    if response.status in _RETRYABLE or code in _RETRYABLE_CODES:
        error = RetryableError(f"answered {said}")
        error.retry_after_s = _retry_after(response.headers.get("Retry-After", ""))
        raise error
    raise TransferError(f"{endpoint}: answered {said}. {_ADVICE.get(response.status, 'Check the URL.')}")


_ADVICE = {
    400: "Presigned URLs expire and are valid for one method only. Sign a new one.",
    403: "Presigned URLs expire and are valid for one method, one key and their signed headers. "
    "Sign a new one.",
    404: "There is no object with this key.",
    411: "The store asks for a length, which was sent. Is there a proxy in between?",
    413: "The file is too large for the store.",
}


def header(response: http.client.HTTPResponse, name: str) -> str | None:
    """Value of a header without the spaces around it, None where there is none."""
    value = response.headers.get(name)
    return value.strip() if value is not None else None


def _host(location: str | None) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(location or "").hostname or "nowhere"
    return "nowhere"


def _element(body: bytes, tag: bytes) -> str:
    found = re.search(rb"<%s>([^<]+)" % tag, body)
    return found[1].decode("utf-8", "replace") if found else ""


def _shown(endpoint: Endpoint, text: str) -> str:
    """A store's words on one line, cut after its secrets are hidden: the rest of one would not be found."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    hidden = endpoint.url.redact(words)
    return hidden if len(hidden) <= _SAID_CHARACTERS else f"{hidden[:_SAID_CHARACTERS]}..."


def _retry_after(text: str) -> float | None:
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
