"""Single changes of a row: the values worth trying, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom

__all__ = ["Moves", "Values"]

VALUES_PER_NUMBER = 12
VALUES_PER_CATEGORY = 24
MAX_MOVES = 400

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Values:
    """Values that exist, per feature.

    Parameters
    ----------
    directed, whole : ndarray of shape (n_features,)
        Whether a feature is a number, and whether only whole numbers are possible.
    gap : ndarray of shape (n_features,)
        Least difference between values of the background; 1 between whole ones.
    known : tuple of ndarray
        All different values of the background within the training range, increasing; between two neighbouring
        numbers one more, with as few digits as it takes.
    tried : tuple of ndarray
        A few of them, evenly spread over the rows; of categories the most frequent ones.
    """

    directed: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    gap: Floats
    known: tuple[Floats, ...]
    tried: tuple[Floats, ...]

    @classmethod
    def of(cls, background: Background) -> Values:
        """Values of a background."""
        known, tried, gap = [], [], np.ones(background.n_features)
        per_number = int(np.clip(MAX_MOVES // max(background.n_features, 1), 2, VALUES_PER_NUMBER))
        for j in range(background.n_features):
            column = background.matrix[:, j]
            column = column[(column >= background.low[j]) & (column <= background.high[j])]
            values, counts = np.unique(column, return_counts=True)
            known.append(_with_between(values, background.whole[j]) if background.numeric[j] else values)
            if not background.whole[j]:
                gap[j] = np.diff(values).min(initial=np.inf)
            if background.numeric[j]:
                # half of them by rows, half by different values: one value may fill most rows
                pick = np.linspace(0, 1, max(per_number // 2, 2))
                by_row = (
                    np.sort(column)[(pick * (len(column) - 1)).astype(np.int64)] if len(column) else values
                )
                by_value = values[(pick * (len(values) - 1)).astype(np.int64)] if len(column) else values
                tried.append(np.unique(np.concatenate([by_row, by_value])))
            else:
                frequent = np.argsort(-counts, kind="stable")[:VALUES_PER_CATEGORY]
                tried.append(np.sort(values[frequent]))
        return cls(background.numeric, background.whole, gap, tuple(known), tuple(tried))

    def between(self, j: int, a: float, b: float) -> list[float]:
        """Values a quarter, half and three quarters (by rank) of the way from `a` to `b`, without either.

        Where none is known between them, one with few digits, unless they are as near as values ever are.
        """
        values = self.known[j]
        low, high = (a, b) if a < b else (b, a)
        first = int(values.searchsorted(low, side="right"))
        n = int(values.searchsorted(high, side="left")) - first
        in_range = len(values) > 0 and values[0] <= low and high <= values[-1]
        if n <= 0 and self.directed[j] and in_range and high - low > self.gap[j]:
            values = _with_between(np.array([low, high]), bool(self.whole[j]))
            first, n = 1, len(values) - 2
        ranks = sorted({n // 4, n // 2, 3 * n // 4}) if n > 0 else []
        return [float(values[first + rank]) for rank in (ranks if a < b else reversed(ranks))]

    def towards(self, j: int, own: float, target: Floats, up: bool) -> Floats:
        """Known values nearest to targets on `own`'s side of them, or `own` where there is none between."""
        values = self.known[j]
        if up:
            found = values[np.maximum(values.searchsorted(target, side="right") - 1, 0)]
            return np.where((found > own) & (found <= target), found, own)
        found = values[np.minimum(values.searchsorted(target, side="left"), len(values) - 1)]
        return np.where((found < own) & (found >= target), found, own)


def _with_between(values: Floats, whole: bool) -> Floats:
    """Increasing numbers, and between each two of them the one with the fewest digits near the middle."""
    low, high = values[:-1], values[1:]
    middle = low + (high - low) / 2
    found = np.full(len(middle), np.nan)
    with np.errstate(divide="ignore"):
        first = -np.floor(np.log10(np.maximum(high - low, 1e-300))).astype(np.int64)
    for more in range(-1, 2):
        places = np.clip(first + more, -300, 0 if whole else 300)
        unit = 10.0 ** -places.astype(np.float64)
        short = np.round(middle / unit) * unit
        found = np.where(np.isnan(found) & (low < short) & (short < high), short, found)
    return np.union1d(values, found[~np.isnan(found)])


@dataclass(frozen=True, eq=False)
class Moves:
    """Single changes of a row: feature and new value of each, and the model's answer once it is there."""

    feature: Ints
    value: Floats

    @classmethod
    def of(cls, x: Floats, values: Values, freedom: Freedom, rng: np.random.Generator) -> Moves:
        """All changes to tried values that are allowed; a random share of them when there are too many."""
        feature = np.repeat(np.arange(len(x)), [len(tried) for tried in values.tried])
        value = np.concatenate(values.tried)
        own = x[feature]
        with np.errstate(invalid="ignore"):
            free = np.where(value > own, freedom.increase[feature], freedom.decrease[feature])
        free = np.where(np.isnan(own), freedom.mutable[feature], free) & (value != own)
        chosen = np.flatnonzero(free)
        if len(chosen) > MAX_MOVES:
            chosen = np.sort(rng.choice(chosen, MAX_MOVES, replace=False))
        return cls(feature[chosen], value[chosen])

    def rows(self, x: Floats) -> Floats:
        """The row after each change."""
        X = np.repeat(x[np.newaxis], len(self.feature), axis=0)
        X[np.arange(len(X)), self.feature] = self.value
        return X
