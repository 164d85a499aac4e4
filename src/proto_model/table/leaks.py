"""Features that tell the class so well that they may be known only after it.

Each feature is asked alone: a lookup table from its values to classes, cross-validated, so that many values
earn nothing. The bounds stand between what real features reach and what leaks reach, on more than thirty
tables (`benchmarks/cautions.py`): at most 0.89 of the way from chance to perfect against at least 0.93.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from proto_model.table.folds import folds
from proto_model.table.training_data import TrainingData
from proto_model.values import encode

_MAX_ROWS = 10_000
_LEAST_ROWS = 20  # in fewer rows, a column that fits the classes may do so by chance
_MAX_BINS = 32
_MAX_COPY_VALUES = 10
_ROWS_PER_COPY_VALUE = 5
_ALONE = 0.9  # of the way from chance to perfect
_PATTERN = 0.6  # the same for a pattern of missing values; real ones stay below 0.3
_PATTERN_SHARE = 0.95
_PURE = 0.9  # least share of one class on a side of such a pattern
_TIMES_PURER = 5.0  # than the class is in the whole table
_Z = 2.326348  # one-sided, 99 %
_SURE = 0.99

How = Literal["copy", "alone", "missing"]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Suspect:
    """A feature that may be a leak.

    `how` says what tells the class: each value goes with one class (`copy`), the values (`alone`), or whether
    there is a value (`missing`). `score` is the balanced accuracy of that alone.
    """

    column: str
    how: How
    score: float


def suspects(data: TrainingData, random_state: int = 0) -> list[Suspect]:
    """Features that may be leaks, in the order of the schema; at most 10,000 training rows are asked."""
    y = np.unique(data.y_train, return_inverse=True)[1]
    fold = np.full(len(y), -1)
    for number, (_, judge) in enumerate(folds(data, random_state)):
        fold[judge] = number
    chosen = np.flatnonzero(fold >= 0)
    if len(chosen) > _MAX_ROWS:
        chosen = np.sort(np.random.default_rng(random_state).choice(chosen, _MAX_ROWS, replace=False))
    if len(chosen) < _LEAST_ROWS:
        return []
    matrix = encode(data.X_train.iloc[chosen], data.schema)
    rows = _Rows(y[chosen], fold[chosen])
    found = []
    for column, name in enumerate(data.schema.feature_names):
        how = rows.suspicion(matrix[:, column], data.schema.features[column].categories is not None)
        if how is not None:
            found.append(Suspect(name, *how))
    return found


class _Rows:
    """Rows to ask features about: class and fold of each."""

    def __init__(self, y: Codes, fold: Codes) -> None:
        self.y, self.fold = y, fold
        self.n_classes, self.n_folds = int(y.max()) + 1, int(fold.max()) + 1
        self.n_rows = np.bincount(y, minlength=self.n_classes)
        self.present = self.n_rows > 0

    def suspicion(self, values: NDArray[np.float64], categorical: bool) -> tuple[How, float] | None:
        """How a feature gives its class away, if it does, and its score."""
        codes = _coded(values, categorical)
        counts = self._counts(codes)
        if self._is_copy(counts.sum(axis=0)):
            return "copy", 1.0
        score, least = self._score(counts)
        filled = (codes > 0).astype(np.int64)
        if 0 < filled.sum() < len(filled):
            pattern = self._counts(filled)
            pattern_score, pattern_least = self._score(pattern)
            told = self._part(pattern_least) >= _PATTERN or self._is_pure(pattern.sum(axis=0))
            # Where the values add much to the pattern, they are what gives the class away.
            if told and (self._part(least) < _ALONE or pattern_score >= _PATTERN_SHARE * score):
                return "missing", pattern_score
        return ("alone", score) if self._part(least) >= _ALONE else None

    def _counts(self, codes: Codes) -> NDArray[np.int64]:
        """Rows per fold, code and class."""
        shape = (self.n_folds, int(codes.max()) + 1, self.n_classes)
        places = np.ravel_multi_index((self.fold, codes, self.y), shape)
        return np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)

    def _score(self, counts: NDArray[np.int64]) -> tuple[float, float]:
        """Balanced accuracy of the lookup on folds that it has not learned from, and its lower bound."""
        learned = counts.sum(axis=0) - counts
        shares = learned / np.maximum(learned.sum(axis=1, keepdims=True), 1)
        looked_up = shares.argmax(axis=2)
        hits = np.take_along_axis(counts, looked_up[:, :, np.newaxis], axis=2)[:, :, 0]
        right = np.bincount(looked_up.ravel(), weights=hits.ravel(), minlength=self.n_classes)[self.present]
        n_rows = self.n_rows[self.present]
        recalls, wary = right / n_rows, (right + 1) / (n_rows + 2)
        deviation = np.sqrt((wary * (1 - wary) / n_rows).sum()) / len(n_rows)
        return float(recalls.mean()), float(recalls.mean() - _Z * deviation)

    def _part(self, score: float) -> float:
        """How far a balanced accuracy is on the way from chance to perfect."""
        chance = 1 / self.present.sum()
        return float((score - chance) / (1 - chance))

    def _is_copy(self, counts: NDArray[np.int64]) -> bool:
        """Whether each of a few values goes with one class only."""
        used = counts[counts.sum(axis=1) > 0]
        few = len(used) <= min(_MAX_COPY_VALUES, len(self.y) / _ROWS_PER_COPY_VALUE) or (
            len(used) <= 2 * self.n_classes
        )
        return bool(few and ((used > 0).sum(axis=1) == 1).all())

    def _is_pure(self, counts: NDArray[np.int64]) -> bool:
        """Whether rows with a value, or rows without one, are nearly all of one class that others are not."""
        base = self.n_rows / self.n_rows.sum()
        for side in counts:
            index = int(side.argmax())
            if side.sum() < _LEAST_ROWS:
                continue
            least = float(beta.ppf(1 - _SURE, side[index], side.sum() - side[index] + 1))
            if least >= _PURE and _TIMES_PURER * (1 - least) <= 1 - base[index]:
                return True
        return False


def _coded(values: NDArray[np.float64], categorical: bool) -> Codes:
    """0 where a value is missing; else the category, the value among few, or its place among 32 quantiles."""
    missing = np.isnan(values)
    if categorical:
        return np.where(missing, 0, values + 1).astype(np.int64)
    distinct = np.unique(values[~missing])
    if len(distinct) > _MAX_BINS:
        quantiles = np.quantile(values[~missing], np.linspace(0, 1, _MAX_BINS + 1)[1:-1])
        distinct = np.unique(quantiles)
    return np.where(missing, 0, np.searchsorted(distinct, values, side="right") + 1)
