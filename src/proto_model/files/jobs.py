"""File jobs: two URLs each in, a summary each out; what fails in one leaves the others alone."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from proto_model.errors import ExplanationError, InputError, ProtoModelError
from proto_model.files.options import FileOptions, given_format
from proto_model.files.scoring import Explain, Scored, ScoringModel, score
from proto_model.files.spool import Spool, open_unnamed
from proto_model.files.summary import ErrorType, Summary
from proto_model.files.transfer import (
    Content,
    Deadline,
    Download,
    FileSettings,
    LimitError,
    PresignedUrl,
    TransferError,
    UrlError,
    check_signed_headers,
    upload,
    vetted_addresses,
)
from proto_model.files.transfer.guard import Resolver

__all__ = ["FileJob", "run_jobs"]

logger = logging.getLogger(__name__)

_ERROR_TYPES: tuple[tuple[type[Exception], ErrorType], ...] = (
    (UrlError, "url"),
    (InputError, "input"),
    (LimitError, "limit"),
    (TransferError, "transfer"),
    (ExplanationError, "input"),
)


@dataclass(frozen=True, repr=False)
class FileJob:
    """A file to score.

    Parameters
    ----------
    input_url : object
        Presigned GET, as the request holds it.
    output_url : object
        Presigned PUT.
    file_id : str or None
        Handed through to the summary.
    """

    input_url: object
    output_url: object
    file_id: str | None = None


def run_jobs(
    jobs: Iterable[FileJob],
    model: ScoringModel,
    options: FileOptions,
    settings: FileSettings,
    *,
    explain: Explain | None = None,
    go_on: Callable[[], None] = lambda: None,
    resolve: Resolver = socket.getaddrinfo,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Summary]:
    """Summaries of jobs, in their order.

    One job is scored at a time, on all cores; its upload goes on while the next one is scored.

    Parameters
    ----------
    jobs : iterable of FileJob
        What to score.
    model : ScoringModel
        Predicts.
    options : FileOptions
        The same for all jobs.
    settings : FileSettings
        Limits and the guard's lists.
    explain : callable or None
        Explanations for rows of the coded matrix.
    go_on : callable
        Called now and then, by several threads; ends the jobs, which have failed then, by raising.
    resolve, now : callable
        `socket.getaddrinfo` and the time in UTC, unless a test says otherwise.
    """
    for name in ("input_format", "output_format"):
        given_format(options, name)  # an unknown one is a fault of the request, not of each job
    with ThreadPoolExecutor(1, thread_name_prefix="upload") as uploads:
        running = [
            _Run(job, settings, resolve, now, go_on).start(model, options, explain, uploads) for job in jobs
        ]
        return [future.result() for future in running]


class _Run:
    """One job on its way."""

    def __init__(
        self,
        job: FileJob,
        settings: FileSettings,
        resolve: Resolver,
        now: Callable[[], datetime],
        go_on: Callable[[], None],
    ) -> None:
        self._job, self._settings, self._resolve, self._now, self._go_on = job, settings, resolve, now, go_on
        self._started_at = now()
        self._urls: list[PresignedUrl] = []
        self._bytes_in: int | None = None

    def start(
        self, model: ScoringModel, options: FileOptions, explain: Explain | None, uploads: ThreadPoolExecutor
    ) -> Future[Summary]:
        """Download and score; the upload and the summary come later."""
        file = open_unnamed(self._settings)
        try:
            input_url, output_url, deadline = self._check()
            spool = Spool(file, self._settings.max_output_bytes)
            scored = self._score(input_url, deadline, spool, model, options, explain)
            return uploads.submit(self._finish, output_url, deadline, spool, scored)
        except Exception as error:  # one job must not undo the others
            file.close()
            failed: Future[Summary] = Future()
            failed.set_result(self._failed(error))
            return failed

    def _check(self) -> tuple[PresignedUrl, PresignedUrl, Deadline]:
        """Find out what can be known before the work: form, expiry, signed headers, where the URLs lead."""
        self._go_on()
        input_url = PresignedUrl.parse(self._job.input_url, "input_url")
        self._urls.append(input_url)
        output_url = PresignedUrl.parse(self._job.output_url, "output_url")
        self._urls.append(output_url)
        for url, name in ((output_url, "output_url"), (input_url, "input_url")):
            url.check_expiry(name, self._started_at)
            vetted_addresses(url, name, self._settings, self._resolve)
        check_signed_headers(output_url, "output_url")
        seconds = self._settings.max_job_s
        if output_url.expires_at is not None:
            seconds = min(seconds, (output_url.expires_at - self._started_at).total_seconds())
        return input_url, output_url, Deadline(seconds, go_on=self._go_on)

    def _score(
        self,
        url: PresignedUrl,
        deadline: Deadline,
        spool: Spool,
        model: ScoringModel,
        options: FileOptions,
        explain: Explain | None,
    ) -> Scored:
        with contextlib.closing(
            Download(url, "input_url", self._settings, deadline, resolve=self._resolve)
        ) as download:
            try:
                scored = score(
                    download,
                    url.path,
                    spool,
                    model,
                    options,
                    self._settings,
                    explain=explain,
                    progress=lambda _n_rows: deadline.check(),
                )
            finally:
                self._bytes_in = download.n_bytes
            # A Parquet file may have been read before all of it came: its end is fetched first.
            self._bytes_in = download.total_bytes or self._bytes_in
            return scored

    def _finish(self, url: PresignedUrl, deadline: Deadline, spool: Spool, scored: Scored) -> Summary:
        """Upload what was scored."""
        with spool.file:
            try:
                content = Content(spool.file, spool.n_bytes, spool.md5, scored.output_format.media_type)
                etag = upload(url, "output_url", content, self._settings, deadline, resolve=self._resolve)
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
            etag=etag,
            sha256=spool.sha256,
            notes="; ".join(scored.notes) or None,
        )
        logger.info(
            "file job %s: done, %d rows, %d rejected, %.3f s",
            *(self._job.file_id, scored.n_rows, scored.n_rejected, summary.seconds),
        )
        return summary

    def _failed(self, error: Exception) -> Summary:
        kind: ErrorType = next((name for cls, name in _ERROR_TYPES if isinstance(error, cls)), "internal")
        message = str(error) if isinstance(error, ProtoModelError) else f"{type(error).__name__}: {error}"
        for url in self._urls:
            message = url.redact(message)
        logger.log(
            logging.ERROR if kind == "internal" else logging.INFO,
            *("file job %s: failed (%s): %s", self._job.file_id, kind, message),
        )
        return Summary(
            file_id=self._job.file_id,
            status="failed",
            bytes_in=self._bytes_in,
            seconds=self._seconds(),
            error=message,
            error_type=kind,
        )

    def _seconds(self) -> float:
        return round((self._now() - self._started_at).total_seconds(), 3)
