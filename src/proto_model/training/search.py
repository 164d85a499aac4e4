"""The search for each variant's best hyperparameters, by cross-validation on the training rows."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from sklearn.model_selection import ParameterSampler
from sklearn.pipeline import Pipeline

from proto_model.table.folds import Fold, folds
from proto_model.table.training_data import TrainingData
from proto_model.training.growth import held_out_probabilities
from proto_model.training.variants import VARIANTS, Variant, make_pipeline

_SWITCH_S = 0.0002
_LINES_PER_SEARCH = 4


#: Called after each fit with the variant's name, the fits done, the fits to do, and the best mean score of a
#: candidate so far (NaN before the first is complete); one call at a time, but from several threads.
SearchProgress = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class SearchResult:
    """What a search found: the best candidate, fitted on all training rows, and its score over the folds.

    The table has a row per candidate, the first being the variant's defaults: `candidate`, `chosen`,
    `cv_balanced_accuracy`, `cv_std`, `fit_seconds`, a column per parameter, and `fold_0`, `fold_1`, ...

    `out_of_fold` has the chosen candidate's probabilities for the training rows, shape (n_train, n_classes),
    each from the fold that had not learned from the row; NaN in rows that no fold judges.
    """

    variant: str
    pipeline: Pipeline
    best_params: dict[str, Any]
    cv_balanced_accuracy: float
    cv_std: float
    table: pd.DataFrame
    fit_seconds: float
    out_of_fold: NDArray[np.float64]


@contextmanager
def searches(
    variants: Iterable[Variant | str],
    data: TrainingData,
    n_candidates: int = 8,
    random_state: int = 0,
    progress: SearchProgress | None = None,
    n_jobs: int | None = None,
) -> Iterator[Iterator[SearchResult]]:
    """Best of each variant's defaults and of random draws from its space, one variant after the other.

    Scored by balanced accuracy over stratified folds, the same for all candidates and variants: five, three
    from 10 000 training rows on, fewer when a class is rarer than that. The result depends on `random_state`,
    not on `n_jobs`, the number of forests to grow at the same time (None for one per core). While the caller
    works on a result, the next searches go on; when the context is left, those that are not done end after
    the fits at hand.
    """
    if n_candidates < 1:
        raise ValueError(f"n_candidates {n_candidates} given, 1 or more expected.")
    n_threads = n_jobs or os.cpu_count() or 1
    rows = _Rows.of(data, random_state)
    interval = sys.getswitchinterval()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            # A thread that has grown a tree should not wait 5 ms for one that draws a plot meanwhile.
            sys.setswitchinterval(_SWITCH_S)
            begun = []
            for variant in variants:
                chosen = VARIANTS[variant] if isinstance(variant, str) else variant
                candidates = _candidates(chosen, n_candidates, random_state)
                begun.append(_CrossValidation(chosen, candidates, rows, random_state, progress, pool))
            yield (_result(scored, data, random_state, n_threads) for scored in begun)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            sys.setswitchinterval(interval)


def _result(scored: _CrossValidation, data: TrainingData, random_state: int, n_threads: int) -> SearchResult:
    """Best candidate, fitted on all training rows, once all fits on folds are done."""
    scores, seconds, duration = scored.wait()
    best = int(np.argmax(scores.mean(axis=1)))
    started = time.perf_counter()
    pipeline = make_pipeline(scored.variant, data.schema, random_state, **scored.candidates[best])
    # scikit-learn refuses labels such as 0.5, so the forest learns codes and is told its labels afterwards.
    classes, codes = np.unique(data.y_train, return_inverse=True)
    pipeline.set_params(forest__n_jobs=n_threads).fit(data.X_train, codes)
    pipeline.set_params(forest__n_jobs=None).named_steps["forest"].classes_ = classes
    return SearchResult(
        variant=scored.variant.name,
        pipeline=pipeline,
        best_params=scored.candidates[best],
        cv_balanced_accuracy=float(scores[best].mean()),
        cv_std=float(scores[best].std()),
        table=_table(scored.candidates, scores, seconds, best),
        fit_seconds=duration + time.perf_counter() - started,
        out_of_fold=scored.out_of_fold(best),
    )


@dataclass(frozen=True)
class _Rows:
    """Training rows and folds, the same for all candidates of all variants."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    folds: list[Fold]

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1

    @classmethod
    def of(cls, data: TrainingData, random_state: int) -> _Rows:
        # Coded once, outside the folds: coding a row looks at no other row.
        encoder = make_pipeline(next(iter(VARIANTS)), data.schema, random_state).named_steps["encode"]
        X = encoder.fit_transform(data.X_train).astype(np.float32)
        codes: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
        return cls(X, codes, folds(data, random_state))


class _CrossValidation:
    """All fits of one variant's candidates on the folds, handed to a pool.

    Growing a tree releases the GIL, so threads with a whole forest each keep all cores busy; pools inside
    each forest do not.
    """

    def __init__(
        self,
        variant: Variant,
        candidates: list[dict[str, Any]],
        rows: _Rows,
        random_state: int,
        progress: SearchProgress | None,
        pool: Executor,
    ) -> None:
        self.variant, self.candidates = variant, candidates
        self._rows, self._random_state, self._progress = rows, random_state, progress
        self._scores = np.full((len(candidates), len(rows.folds)), np.nan)
        self._times = np.zeros((2, *self._scores.shape))
        self._out_of_fold = [np.full((len(rows.y), rows.n_classes), np.nan) for _ in candidates]
        self._n_done = 0
        self._telling = threading.Lock()
        self._fits = [pool.submit(self._fit, *place) for place in np.ndindex(self._scores.shape)]

    def out_of_fold(self, candidate: int) -> NDArray[np.float64]:
        """Probabilities of a candidate for each training row, by the fold that had not learned from it."""
        return self._out_of_fold[candidate]

    def wait(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Balanced accuracy and seconds of each candidate (row) on each fold (column); seconds in all."""
        for fit in wait(self._fits, return_when=FIRST_EXCEPTION).done:
            fit.result()
        begin, end = self._times
        return self._scores, end - begin, float(end.max() - begin.min())

    def _fit(self, candidate: int, fold: int) -> None:
        self._times[0, candidate, fold] = time.perf_counter()
        X, y, (learn, judge) = self._rows.X, self._rows.y, self._rows.folds[fold]
        forest = self.variant.forest(**self.candidates[candidate], random_state=self._random_state, n_jobs=1)
        proba = held_out_probabilities(forest, X[learn], y[learn], X[judge], self._rows.n_classes)
        score = _balanced_accuracy(y[judge], proba.argmax(axis=1))
        self._times[1, candidate, fold] = time.perf_counter()
        with self._telling:
            self._scores[candidate, fold] = score
            self._out_of_fold[candidate][judge] = proba
            self._n_done += 1
            if self._progress is not None:
                means = self._scores.mean(axis=1)
                complete = means[~np.isnan(means)]
                best = complete.max() if len(complete) else np.nan
                self._progress(self.variant.name, self._n_done, self._scores.size, best)


def _candidates(variant: Variant, n_candidates: int, random_state: int) -> list[dict[str, Any]]:
    """Parameters of each candidate: the defaults, then draws without repetition."""
    n_draws = min(n_candidates - 1, int(np.prod([len(values) for values in variant.space.values()])))
    draws = ParameterSampler(variant.space, n_draws, random_state=random_state) if n_draws else []
    return [dict(variant.defaults), *({**variant.defaults, **draw} for draw in draws)]


def _balanced_accuracy(y: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:
    """scikit-learn's balanced accuracy, without its warning when a class is predicted that the fold lacks."""
    n_rows = np.bincount(y)
    n_right = np.bincount(y[y == y_pred], minlength=len(n_rows))
    return float((n_right[n_rows > 0] / n_rows[n_rows > 0]).mean())


def _table(
    candidates: list[dict[str, Any]], scores: NDArray[np.float64], seconds: NDArray[np.float64], best: int
) -> pd.DataFrame:
    numbers = np.arange(len(candidates))
    columns = {
        "candidate": numbers,
        "chosen": numbers == best,
        "cv_balanced_accuracy": scores.mean(axis=1),
        "cv_std": scores.std(axis=1),
        "fit_seconds": seconds.sum(axis=1),
    }
    folds = pd.DataFrame(scores).add_prefix("fold_")
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(candidates), folds], axis=1)


@contextmanager
def search_progress(console: Console | None = None) -> Iterator[SearchProgress]:
    """Callback for `searches`: a bar per variant in a terminal, a line now and then elsewhere."""
    out = console or Console(stderr=True)

    def show_line(variant: str, n_done: int, n_total: int, best: float) -> None:
        if n_done * _LINES_PER_SEARCH // n_total > (n_done - 1) * _LINES_PER_SEARCH // n_total:
            out.print(f"{variant}: {n_done}/{n_total} fits {_shown(best)}".rstrip(), highlight=False)

    if not out.is_terminal:
        yield show_line
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=out) as bars:

        def show_bar(variant: str, n_done: int, n_total: int, best: float) -> None:
            if variant not in tasks:
                tasks[variant] = bars.add_task(variant, total=n_total, best="")
            bars.update(tasks[variant], completed=n_done, best=_shown(best))

        yield show_bar


def _shown(best: float) -> str:
    return "" if math.isnan(best) else f"balanced accuracy {best:.4f}"
