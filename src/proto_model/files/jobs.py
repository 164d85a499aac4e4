"""File jobs: two URLs each in, a summary each out; what fails in one leaves the others alone."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from proto_model.batches.scoring import Explain, ScoringModel
from proto_model.errors import ExplanationError, InputError, ProtoModelError
from proto_model.files.formats import parse_format
from proto_model.files.scoring import Scored, Task, score
from proto_model.files.stream import Spool, open_unnamed
from proto_model.files.transfer import (
    Content,
    Deadline,
    Download,
    Endpoint,
    FileSettings,
    LimitError,
    PresignedUrl,
    TransferError,
    UrlError,
    check_signed_headers,
    upload,
)
from proto_model.files.transfer.guard import Resolver
from proto_model.parameters import Parameters

logger = logging.getLogger(__name__)

ErrorType = Literal["url", "input", "limit", "transfer", "internal"]

_ERROR_TYPES: tuple[tuple[type[Exception], ErrorType], ...] = (
    (UrlError, "url"),
    (InputError, "input"),
    (LimitError, "limit"),
    (TransferError, "transfer"),
    (ExplanationError, "input"),
)


@dataclass(frozen=True, repr=False)
class FileJob:
    """A file to score; the URLs are as the request holds them, a presigned GET and a presigned PUT."""

    input_url: object
    output_url: object
    file_id: str | None = None  # comes back in the summary


@dataclass(frozen=True)
class Summary:
    """One job's answer. Numbers of a failed job say how far it came, where that is known."""

    file_id: str | None
    status: Literal["done", "failed"]  # a failed job uploaded nothing
    rows: int | None = None  # of the output
    rejected_rows: int | None = None  # of those, without a prediction
    bytes_in: int | None = None  # downloaded
    bytes_out: int | None = None  # uploaded
    input_format: str | None = None
    output_format: str | None = None
    seconds: float = 0.0
    etag: str | None = None  # what the store calls the output
    sha256: str | None = None  # of the output
    verified: str | None = None  # what shows that both files arrived as they were, see docs/files.md
    notes: str | None = None  # what the caller should know of a job that is done
    error: str | None = None
    error_type: ErrorType | None = None  # see docs/files.md

    @classmethod
    def columns(cls) -> list[str]:
        """Names of the answer's columns, in order."""
        return [field.name for field in dataclasses.fields(cls)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by column."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Outside:
    """What a test puts in another's place: the resolver of host names, and the time in UTC."""

    resolve: Resolver = socket.getaddrinfo
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


_OUTSIDE = Outside()


def run_jobs(
    jobs: Iterable[FileJob],
    model: ScoringModel,
    parameters: Parameters,
    settings: FileSettings,
    *,
    explain: Explain | None = None,
    go_on: Callable[[], None] = lambda: None,
    outside: Outside = _OUTSIDE,
) -> list[Summary]:
    """Summaries of jobs, in their order; what fails in one stands in its summary.

    One job is scored at a time, on all cores; its upload goes on while the next one is scored, and the one
    after it waits for it, so that few files are open however many jobs there are. `go_on` is
    called now and then, by several threads; it ends the jobs, which have failed then, by raising.

    Raises
    ------
    InputError
        If the parameters name an unknown format, which is a fault of the request.
    """
    parse_format(parameters.input_format, "input_format")
    parse_format(parameters.output_format, "output_format")
    task = Task(model, parameters, settings, explain)
    summaries: list[Summary] = []
    uploading: deque[Future[Summary]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="upload") as uploads:
        for job in jobs:
            while len(uploading) > 1:
                summaries.append(uploading.popleft().result())
            uploading.append(_Run(job, task, go_on, outside).start(uploads))
        return summaries + [future.result() for future in uploading]


def _listed(checks: tuple[str, ...]) -> str:
    return ", ".join(checks) or "nothing"


class _Run:
    """One job on its way."""

    def __init__(self, job: FileJob, task: Task, go_on: Callable[[], None], outside: Outside) -> None:
        self._job, self._task, self._go_on, self._outside = job, task, go_on, outside
        self._settings = task.settings
        self._started_at = outside.now()
        self._urls: list[PresignedUrl] = []
        self._bytes_in: int | None = None
        self._checks: tuple[str, ...] = ()
        self._begun = False

    def start(self, uploads: ThreadPoolExecutor) -> Future[Summary]:
        """Download and score; the upload and the summary come later."""
        with contextlib.ExitStack() as stack:
            try:
                source, target, deadline = self._check()
                self._begun = True
                file = stack.enter_context(open_unnamed(self._settings))
                spool = Spool(file, self._settings.max_output_bytes)
                scored = self._score(source, deadline, spool)
                uploading = uploads.submit(self._finish, target, deadline, spool, scored)
                stack.pop_all()  # the upload closes the file
                return uploading
            except Exception as error:  # one job must not undo the others
                failed: Future[Summary] = Future()
                failed.set_result(self._failed(error))
                return failed

    def _check(self) -> tuple[Endpoint, Endpoint, Deadline]:
        """Find out what can be known before the work: form, expiry, signed headers, where the URLs lead."""
        self._go_on()
        source, target = (
            self._endpoint(text, name)
            for text, name in ((self._job.input_url, "input_url"), (self._job.output_url, "output_url"))
        )
        for endpoint in (target, source):
            endpoint.url.check_expiry(endpoint.name, self._started_at)
            endpoint.addresses()
        check_signed_headers(target)
        seconds = self._settings.max_job_s
        if target.url.expires_at is not None:
            seconds = min(seconds, (target.url.expires_at - self._started_at).total_seconds())
        return source, target, Deadline(seconds, go_on=self._go_on)

    def _endpoint(self, text: object, name: str) -> Endpoint:
        url = PresignedUrl.parse(text, name)
        self._urls.append(url)
        return Endpoint(url, name, self._settings, self._outside.resolve)

    def _score(self, source: Endpoint, deadline: Deadline, spool: Spool) -> Scored:
        with contextlib.closing(Download(source, deadline)) as download:
            try:
                name = source.url.path
                return score(download, name, spool, self._task, check=deadline.check)
            finally:
                self._bytes_in, self._checks = download.n_bytes, download.checks

    def _finish(self, target: Endpoint, deadline: Deadline, spool: Spool, scored: Scored) -> Summary:
        """Upload what was scored."""
        with spool.file:
            try:
                content = Content(spool.file, spool.n_bytes, spool.md5, scored.output_format.media_type)
                stored = upload(target, content, deadline)
            except Exception as error:  # one job must not undo the others
                return self._failed(error)
        summary = Summary(
            file_id=self._job.file_id,
            status="done",
            rows=scored.n_rows,
            rejected_rows=scored.n_rejected,
            bytes_in=self._bytes_in,
            bytes_out=spool.n_bytes,
            input_format=str(scored.input_format),
            output_format=str(scored.output_format),
            seconds=self._seconds(),
            etag=stored.etag,
            sha256=spool.sha256,
            verified=f"input: {_listed(self._checks)}; output: {_listed(stored.checks)}",
            notes="; ".join(scored.notes) or None,
        )
        logger.info(
            "file job %s: done, %d rows, %d rejected, %.3f s",
            *(self._shown_id(), scored.n_rows, scored.n_rejected, summary.seconds),
        )
        return summary

    def _failed(self, error: Exception) -> Summary:
        kind: ErrorType = next((name for cls, name in _ERROR_TYPES if isinstance(error, cls)), "internal")
        message = str(error) if isinstance(error, ProtoModelError) else f"{type(error).__name__}: {error}"
        message = self._redacted(message)
        if kind == "internal":
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("file job %s: %s in\n%s", self._shown_id(), type(error).__name__, where)
        else:
            # What is wrong with a file quotes its values, which belong into the answer alone.
            told = "the answer says what is wrong with the file" if kind == "input" else message
            # Clients rehearse a job with URLs that have expired, which is not a failure.
            how = "failed" if self._begun else "not begun"
            logger.info("file job %s: %s (%s): %s", self._shown_id(), how, kind, told)
        return Summary(
            file_id=self._job.file_id,
            status="failed",
            bytes_in=self._bytes_in,
            seconds=self._seconds(),
            error=message,
            error_type=kind,
        )

    def _redacted(self, text: str) -> str:
        for url in self._urls:
            text = url.redact(text)
        return text

    def _shown_id(self) -> str:
        """The client's name of the job, on one line of the log."""
        return self._redacted(f"{self._job.file_id!r:.200}")

    def _seconds(self) -> float:
        return round((self._outside.now() - self._started_at).total_seconds(), 3)
