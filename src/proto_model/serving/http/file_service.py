"""File jobs of requests, by threads: as many at a time as the settings say, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from proto_model.files import OneThreadModel, Summary, run_jobs
from proto_model.files.transfer import LimitError, TransferError
from proto_model.serving.http.errors import EndingError, SlowAnswerError
from proto_model.serving.http.file_requests import FileQuestion
from proto_model.serving.http.pool import Pool
from proto_model.serving.http.scorer import Question, Scorer
from proto_model.serving.http.settings import ServerSettings

__all__ = ["FileService"]

ADVICE = "Its jobs end and upload nothing more. Send fewer or smaller files, or have file_timeout_s raised."

T = TypeVar("T")


class FileService:
    """A model for files with a pool of threads, one per request.

    Parameters
    ----------
    scorer : Scorer
        The model.
    settings : ServerSettings
        Limits of the pool.
    changed : callable
        Told "file", and how many requests there are, whenever that changes.
    """

    def __init__(
        self, scorer: Scorer, settings: ServerSettings, changed: Callable[[str, int], None] | None = None
    ) -> None:
        assert scorer.files is not None
        self.scorer = scorer
        self.retry_after_s = 30
        self._files = scorer.files
        self._model = OneThreadModel(scorer.schema, scorer.model.forest)
        self._pool = Pool(
            settings.file_jobs,
            settings.max_waiting_files,
            settings.file_timeout_s,
            changed=partial(changed or (lambda kind, n_jobs: None), "file"),
            advice=ADVICE,
        )

    async def answer(
        self, read: Callable[[], tuple[FileQuestion, Callable[[list[Summary]], T]]], n_bytes: int
    ) -> tuple[T, int]:
        """Written answer of a request, and the number of rows that were scored.

        A client that goes away does not end its jobs: what it asked for still appears in its store.

        Parameters
        ----------
        read : callable
            Gives the question of the request, and what writes the answer.
        n_bytes : int
            Length of the request; not used, because requests for files are short.

        Raises
        ------
        InputError, LengthError, OverloadError, SlowAnswerError, EndingError
            If it cannot be read, or not be answered now or in time.
        """
        question, write = read()
        summaries = await self._pool.run(lambda go_on: self._run(question, go_on))
        return write(summaries), sum(summary.rows or 0 for summary in summaries)

    def close(self) -> None:
        """Have the jobs end: those at work fail at their next step, and nothing more is uploaded."""
        self._pool.close()

    def _run(self, question: FileQuestion, go_on: Callable[[], None]) -> list[Summary]:
        def check() -> None:
            # What each job's summary says of it has the words of file jobs.
            try:
                go_on()
            except SlowAnswerError as error:
                raise LimitError(str(error)) from error
            except EndingError as error:
                raise TransferError(str(error)) from error

        def explain(matrix: NDArray[np.float64]) -> list[dict[str, Any]]:
            return self.scorer.explain(Question(matrix, question.params, True), check)

        return run_jobs(
            question.jobs, self._model, question.options, self._files, explain=explain, go_on=check
        )
