"""Many rows explained by worker processes: threads share one interpreter, which is busy most of the time."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, repeat

import numpy as np

from proto_model.errors import ExplanationError
from proto_model.explanation.interface import Explainer, Explanations, Floats, Progress, collected
from proto_model.forest import n_cores
from proto_model.parameters import Parameters

MIN_ROWS = 100  # fewer are explained before the workers have started
ROWS_PER_TASK = 8


class ProcessExplainer:
    """An explainer that shares many rows out to worker processes; to be used in a `with` block.

    The workers are started when `MIN_ROWS` rows have been asked for, in one call or in several; until then,
    and inside processes that may not have children, the given explainer does the work. They are new
    interpreters rather than forks, so that threads do no harm; scripts need the usual
    `if __name__ == "__main__":`. Answers are the same to the byte. Threads may share it.

    Parameters
    ----------
    explainer : Explainer
        Is pickled once; our own are when their model can be. A bundle's model is read again by each worker.
    n_jobs : int, optional
        Worker processes, at least 1; by default one per core of this process. With 1, none is started.
    """

    def __init__(self, explainer: Explainer, n_jobs: int | None = None) -> None:
        if n_jobs is not None and n_jobs < 1:
            raise ValueError(f"n_jobs must be at least 1, got {n_jobs}.")
        self._explainer = explainer
        self._n_jobs = n_cores() if n_jobs is None else n_jobs
        if multiprocessing.current_process().daemon:
            self._n_jobs = 1
        self._workers: ProcessPoolExecutor | None = None
        self._n_asked = 0
        self._lock = threading.Lock()

    def __enter__(self) -> ProcessExplainer:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; what has not begun is left."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
            self._workers = None

    def explain(self, X: Floats, options: Parameters, progress: Progress | None = None) -> Explanations:
        """One explanation per row; ExplanationError if the explainer does not pickle or a worker dies."""
        workers = self._started(len(X))
        if workers is None or np.isinf(X).any():  # the explainer itself says which row is wrong
            return self._explainer.explain(X, options, progress)
        tasks = (X[start : start + ROWS_PER_TASK] for start in range(0, len(X), ROWS_PER_TASK))
        try:
            by_task = workers.map(_Worker.explain, tasks, repeat(options))
            return collected(chain.from_iterable(by_task), len(X), progress)
        except BrokenProcessPool as error:
            raise ExplanationError(
                "A worker process could not start or was killed, perhaps because memory ran out. "
                f"Use fewer than {self._n_jobs} workers, or 1 for none."
            ) from error

    def _started(self, n_rows: int) -> ProcessPoolExecutor | None:
        """The workers, or None as long as they do not pay."""
        with self._lock:
            self._n_asked += n_rows
            if self._workers is None and self._n_jobs > 1 and self._n_asked >= MIN_ROWS:
                try:
                    content = pickle.dumps(self._explainer)
                except (pickle.PicklingError, AttributeError, TypeError) as error:
                    raise ExplanationError(
                        f"This explainer cannot be sent to other processes: {error}. Use n_jobs=1, or a "
                        "model that pickles, such as a function of a module rather than a lambda."
                    ) from error
                self._workers = ProcessPoolExecutor(
                    self._n_jobs,
                    multiprocessing.get_context("spawn"),
                    initializer=_Worker.start,
                    initargs=(content,),
                )
            return self._workers


class _Worker:
    explainer: Explainer

    @classmethod
    def start(cls, content: bytes) -> None:
        """Take over the explainer; Ctrl-C is for the process that started this one."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cls.explainer = pickle.loads(content)

    @classmethod
    def explain(cls, X: Floats, options: Parameters) -> Explanations:
        return [explanation for x in X for explanation in cls.explainer.explain(x[np.newaxis], options)]
