"""One variant's candidates on the folds: a part of each forest first, then the whole of those ahead."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table.folds import Fold, folds
from proto_model.table.training_data import TrainingData
from proto_model.training.encoding import make_encoder
from proto_model.training.selection import choice, scoring
from proto_model.training.selection.growth import Votes, held_out_votes
from proto_model.training.selection.variants import Variant, encoder_options, make_forest

#: Called after each fit with the variant's name, the fits done, the fits to do, and the best mean score of a
#: candidate so far (NaN before the first is complete); one call at a time, but from several threads.
SearchProgress = Callable[[str, int, int, float], None]

_FIRST_PART = 4  # a part of so many goes on trial first
_LEAST_HALVED = 4  # fewer candidates are all grown whole

Matrices = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Coded rows to learn from, and coded rows to judge on."""


class UrgentFirst:
    """Threads of a pool that take the most urgent task that waits, whenever it was handed in."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._handing = threading.Lock()

    def submit(self, urgency: int, task: Callable[[], None]) -> None:
        """Have a task done; a lower number is more urgent, and of equal ones the older task."""
        with self._handing:
            heapq.heappush(self._waiting, (urgency, next(self._number), task))
        self._pool.submit(self._work)

    def _work(self) -> None:
        with self._handing:
            task = heapq.heappop(self._waiting)[2]
        task()


@dataclass(frozen=True)
class FoldRows:
    """Training rows and folds, the same for all candidates of all variants."""

    data: TrainingData
    y: NDArray[np.int64]
    folds: list[Fold]
    _coded: dict[tuple[object, ...], Matrices] = field(default_factory=dict)
    _coding: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, data: TrainingData, random_state: int) -> FoldRows:
        """Rows and folds of a table."""
        codes: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
        return cls(data, codes, folds(data, random_state))

    @property
    def n_classes(self) -> int:
        """Classes among the training rows."""
        return int(self.y.max()) + 1

    @property
    def weights(self) -> NDArray[np.float64]:
        """Rows that each fold judges."""
        return np.array([len(judge) for _, judge in self.folds], dtype=np.float64)

    def frequencies(self, fold: int) -> NDArray[np.float64]:
        """Shares of the classes in the rows that a fold learns from."""
        learn = self.folds[fold][0]
        return np.bincount(self.y[learn], minlength=self.n_classes) / len(learn)

    def coded(self, options: Mapping[str, Any], fold: int) -> Matrices:
        """Rows of a fold, coded by what the encoder learns from those that the fold learns from."""
        key = (fold, *sorted((name, repr(value)) for name, value in options.items()))
        with self._coding:
            if key not in self._coded:
                learn, judge = self.folds[fold]
                encoder = make_encoder(self.data.schema, **options)
                X: pd.DataFrame = self.data.X_train
                known = encoder.fit_transform(X.iloc[learn], self.y[learn])
                new = encoder.transform(X.iloc[judge])
                self._coded[key] = (np.asarray(known, np.float32), np.asarray(new, np.float32))
            return self._coded[key]


class CrossValidation:
    """All fits of one variant's candidates on the folds, handed to a pool.

    Growing a tree releases the GIL, so threads with a whole forest each keep all cores busy; pools inside
    each forest do not. When all candidates have grown a quarter of their trees on every fold, those ahead go
    on to the whole. Who goes on depends on the scores only, not on the order in which threads finish.
    """

    def __init__(
        self,
        variant: Variant,
        candidates: Sequence[dict[str, Any]],
        rows: FoldRows,
        metric: str,
        random_state: int,
        progress: SearchProgress | None,
    ) -> None:
        self.variant, self.candidates, self.rows, self.metric = variant, candidates, rows, metric
        self._random_state, self._progress = random_state, progress
        shape = (len(candidates), len(rows.folds))
        self.scores = {name: np.full(shape, np.nan) for name in dict.fromkeys((*scoring.QUICK, metric))}
        self.n_trees = np.zeros(shape, dtype=np.int64)
        self.n_nodes = np.zeros(shape)
        self.seconds = np.zeros(shape)
        self.finalists = np.arange(len(candidates))
        self._votes: dict[tuple[int, int], Votes] = {}
        self._sizes = _rung_sizes(len(candidates))
        self._rung, self._n_done, self._n_to_do = -1, 0, sum(self._sizes) * len(rows.folds)
        self._left = np.zeros(len(candidates), dtype=np.int64)  # folds to do in this rung
        self._best = [math.nan for _ in self._sizes]  # mean score in each rung
        self._times: list[float] = []
        self._storing = threading.Lock()
        self._done: Future[None] = Future()

    def start(self, pool: UrgentFirst, urgency: int) -> None:
        """Hand the fits in; variants with a lower number go first."""
        self._pool, self._urgency = pool, urgency
        self._next_rung()

    def wait(self) -> float:
        """Seconds from the first fit to the last, once all are done; raises what a fit has raised."""
        self._done.result()
        return max(self._times) - min(self._times)

    def losses(self) -> NDArray[np.float64]:
        """Losses of those candidates that were grown whole, in the order of `finalists`."""
        return scoring.loss(self.metric, self.scores[self.metric][self.finalists])

    def out_of_fold(self, candidate: int) -> NDArray[np.float64]:
        """Probabilities of a finalist for each training row, by the fold that had not learned from it."""
        found = np.full((len(self.rows.y), self.rows.n_classes), np.nan)
        for fold, (_, judge) in enumerate(self.rows.folds):
            found[judge] = self._votes[candidate, fold].probabilities(self.rows.n_classes)
        return found

    def _next_rung(self) -> None:
        self._rung += 1
        if self._rung:
            losses = scoring.loss(self.metric, self.scores[self.metric])
            order = np.argsort(choice.mean(losses, self.rows.weights), kind="stable")
            self.finalists = np.sort(order[: self._sizes[self._rung]])
            kept = set(self.finalists.tolist())
            self._votes = {place: votes for place, votes in self._votes.items() if place[0] in kept}
        places = list(itertools.product(self.finalists.tolist(), range(len(self.rows.folds))))
        self._left[self.finalists] = len(self.rows.folds)
        for place in places:
            self._pool.submit(self._urgency, lambda place=place: self._fit(*place))  # type: ignore[misc]

    @property
    def _is_last(self) -> bool:
        return self._rung == len(self._sizes) - 1

    def _fit(self, candidate: int, fold: int) -> None:
        try:
            begin = time.perf_counter()
            votes, found = self._scored(candidate, fold)
            end = time.perf_counter()
            with self._storing:
                self._store(candidate, fold, votes, found, (begin, end))
        except BaseException as error:  # told to whoever waits, in `wait`
            if not self._done.done():
                self._done.set_exception(error)

    def _scored(self, candidate: int, fold: int) -> tuple[Votes, dict[str, float]]:
        """Votes of the trees that this rung asks for, and what they score."""
        params = self.candidates[candidate]
        known, new = self.rows.coded(encoder_options(params), fold)
        learn, judge = self.rows.folds[fold]
        forest = make_forest(self.variant, params, self._random_state)
        n_trees = None if self._is_last else math.ceil(forest.n_estimators / _FIRST_PART)
        votes = held_out_votes(
            forest, known, self.rows.y[learn], new, n_trees, self._votes.get((candidate, fold))
        )
        probabilities = votes.probabilities(self.rows.n_classes)
        if not self._is_last:
            frequencies = self.rows.frequencies(fold)
            probabilities = scoring.with_one_more_vote(probabilities, votes.n_trees, frequencies)
        y = self.rows.y[judge]
        return votes, {name: scoring.score(name, y, probabilities) for name in self.scores}

    def _store(
        self,
        candidate: int,
        fold: int,
        votes: Votes,
        found: Mapping[str, float],
        times: tuple[float, float],
    ) -> None:
        for name, value in found.items():
            self.scores[name][candidate, fold] = value
        self._votes[candidate, fold] = votes
        self.n_trees[candidate, fold], self.n_nodes[candidate, fold] = votes.n_trees, votes.n_nodes
        self.seconds[candidate, fold] += times[1] - times[0]
        self._times += times
        self._n_done += 1
        self._left[candidate] -= 1
        if not self._left[candidate]:
            value = float(choice.mean(self.scores[self.metric][candidate], self.rows.weights))
            better = min if scoring.BY_NAME[self.metric].lower_is_better else max
            best = self._best[self._rung]
            self._best[self._rung] = value if math.isnan(best) else better(best, value)
        if self._progress is not None:
            best = next((best for best in reversed(self._best) if not math.isnan(best)), math.nan)
            self._progress(self.variant.name, self._n_done, self._n_to_do, best)
        if self._left.any():
            return
        if self._is_last:
            self._done.set_result(None)
        else:
            self._next_rung()


def _rung_sizes(n_candidates: int) -> list[int]:
    """Numbers of candidates that are grown in part, if any, and then as a whole."""
    if n_candidates < _LEAST_HALVED:
        return [n_candidates]
    return [n_candidates, math.ceil(n_candidates / _FIRST_PART)]
