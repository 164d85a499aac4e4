"""Questions answered at once or by threads, whichever holds up the others less."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from proto_model.serving.http.pool import Pool
from proto_model.serving.http.scorer import Answer, Question, Scorer
from proto_model.serving.http.settings import ServerSettings

__all__ = ["Service"]

# Up to here a request is read and answered at once: that takes less time than handing it to a thread.
SMALL_BODY_BYTES = 32 * 1024
SMALL_N_CELLS = 4096

T = TypeVar("T")


class Service:
    """A scorer with two pools of threads: large tables do not wait behind explanations.

    Parameters
    ----------
    scorer : Scorer
        The model.
    settings : ServerSettings
        Limits of the pools.
    changed : callable
        Told "body" or "explanation", and how many jobs of the kind there are, whenever that changes.
    """

    def __init__(
        self, scorer: Scorer, settings: ServerSettings, changed: Callable[[str, int], None] | None = None
    ) -> None:
        self.scorer = scorer
        self.retry_after_s = 1
        tell = changed or (lambda kind, n_jobs: None)
        limits = (settings.threads, settings.max_waiting, settings.answer_timeout_s)
        self._bodies = Pool(*limits, changed=partial(tell, "body"))
        self._explanations = Pool(*limits, changed=partial(tell, "explanation"))

    async def answer(
        self, read: Callable[[], tuple[Question, Callable[[Answer], T]]], n_bytes: int
    ) -> tuple[T, int]:
        """Written answer of a request, and its number of rows.

        Parameters
        ----------
        read : callable
            Gives the question of the request, and what writes the answer.
        n_bytes : int
            Length of the request, as far as it is still to be read.

        Raises
        ------
        InputError, LengthError, OverloadError, SlowAnswerError
            If it cannot be read, or not be answered now or in time.
        """
        if n_bytes <= SMALL_BODY_BYTES:
            question, write = read()
            if not question.explain and question.matrix.size <= SMALL_N_CELLS:
                return write(self.scorer.answer(question)), len(question.matrix)
        else:
            question, write = await self._bodies.run(lambda _: read())
        pool = self._explanations if question.explain else self._bodies
        content = await pool.run(lambda go_on: write(self.scorer.answer(question, go_on)))
        return content, len(question.matrix)

    def close(self) -> None:
        """Let the threads end."""
        self._bodies.close()
        self._explanations.close()
