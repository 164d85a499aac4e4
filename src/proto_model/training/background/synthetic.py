"""Rows that are spread like the training rows, and are none of them.

Each column is cut into bins, the rows into groups of like rows, and each new row is drawn from one group:
numbers from a normal distribution with the group's means and covariances, over scores of the bins; each
category, and whether a number is missing, from the group's rows, feature by feature. Then every value is
drawn anew within its bin. Bins and groups have at least `LEAST` rows. On binned columns, that is what
C. C. Aggarwal and P. S. Yu call "A Condensation Approach to Privacy Preserving Data Mining" (2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import ModelSchema
from proto_model.training.background.bins import LEAST, MISSING, Bins, Bools, Floats, Ints, bins_of, is_number
from proto_model.training.background.groups import groups_of

MIN_ROWS = 500
MAX_ROWS = 2000
MAX_LEARNED = 20_000  # rows to learn from; more would not show in so few drawn ones
_MAX_VALUES = 2_000_000
_WIDTH = 8  # coordinates of a category with more values than that
_ROUNDS = 8


def synthetic_rows(X: Floats, y: Ints, schema: ModelSchema, seed: int = 0) -> Floats:
    """As many rows as a coded matrix has, within `MIN_ROWS` and `MAX_ROWS`, and like its rows.

    `y` are the rows' classes as codes. A drawn row that equals a training row is drawn again, unless at least
    `LEAST` training rows are the same; what equals one still is left out, unless most rows do, as in a table
    of so few values that nearly every possible row occurs. The same seed gives the same rows.
    """
    return rows_and_classes(X, y, schema, seed)[0]


def rows_and_classes(X: Floats, y: Ints, schema: ModelSchema, seed: int = 0) -> tuple[Floats, Ints]:
    """Those rows, and for each the class that most rows of its group have."""
    rng = np.random.default_rng(seed)
    n_learned = min(len(X), MAX_LEARNED, max(_MAX_VALUES // X.shape[1], MAX_ROWS))
    kept = np.linspace(0, len(X) - 1, n_learned).astype(np.int64)
    learned = _Learned.of(X[kept], y[kept], schema, rng)
    n_rows = min(max(n_learned, MIN_ROWS), MAX_ROWS)
    # Groups in proportion to their rows; those of a small table more than once.
    group = learned.group_of_row[np.resize(rng.permutation(n_learned), n_rows)]
    rows = learned.draw(group, rng)
    rare = RareRows(X)
    for _ in range(_ROUNDS):
        again = rare.holds(rows)
        if not again.any():
            break
        rows[again] = learned.draw(group[again], rng)
    real = rare.holds(rows)
    kept_rows = slice(None) if 2 * real.sum() > len(rows) else ~real
    return rows[kept_rows], learned.class_of_group[group][kept_rows]


@dataclass(frozen=True, eq=False)
class _Learned:
    """What is kept of the training rows to draw others."""

    columns: list[Bins]
    scores: list[Floats | None]  # of each bin of a number; None for a category
    members: Ints  # (n_groups, size of the largest): rows of each group
    sizes: Ints
    group_of_row: Ints
    class_of_group: Ints

    @classmethod
    def of(cls, X: Floats, y: Ints, schema: ModelSchema, rng: np.random.Generator) -> _Learned:
        columns = [bins_of(feature, X[:, j], rng) for j, feature in enumerate(schema.features)]
        scores = [
            _scores(column.counts) if is_number(feature) else None
            for feature, column in zip(schema.features, columns, strict=True)
        ]
        Z = [_coordinates(*each, rng) for each in zip(columns, scores, strict=True)]
        groups = groups_of(np.concatenate(Z, axis=1), y, rng)
        sizes = np.array([len(rows) for rows in groups])
        members = np.zeros((len(groups), sizes.max()), dtype=np.int64)
        members[np.arange(sizes.max()) < sizes[:, np.newaxis]] = np.concatenate(groups)
        group_of_row = np.empty(len(X), dtype=np.int64)
        group_of_row[np.concatenate(groups)] = np.repeat(np.arange(len(groups)), sizes)
        classes = np.array([np.bincount(y[rows]).argmax() for rows in groups])
        return cls(columns, scores, members, sizes, group_of_row, classes)

    def draw(self, group: Ints, rng: np.random.Generator) -> Floats:
        """A row of each of the groups."""
        members, sizes = self.members[group], self.sizes[group]
        inside = np.arange(members.shape[1]) < sizes[:, np.newaxis]
        # The same for all numbers of a row, so that they vary together as those of the group's rows do.
        weights = np.where(inside, rng.standard_normal(members.shape), 0.0)
        drawn = np.empty((len(group), len(self.columns)))
        for j, (column, scores) in enumerate(zip(self.columns, self.scores, strict=True)):
            picked = members[np.arange(len(group)), rng.integers(0, sizes)]
            bins = column.of_row[picked]
            if scores is not None:
                near = column.of_row[members]
                known = inside & (near != MISSING)
                found = _correlated(np.where(known, scores[near], 0.0), known, weights)
                bins = np.where(bins == MISSING, MISSING, _bins_at(found, column.counts))
            drawn[:, j] = column.draw(bins, rng)
        return drawn


def _scores(counts: Ints) -> Floats:
    """Logistic score of each bin: where the middle of its rows stands among all rows."""
    share = np.clip((np.cumsum(counts) - counts / 2) / max(counts.sum(), 1), 1e-4, 1 - 1e-4)
    scores: Floats = np.log(share / (1 - share))
    return scores


def _bins_at(scores: Floats, counts: Ints) -> Ints:
    """Bin at the place among all rows that a score stands for."""
    share = 1 / (1 + np.exp(-scores))
    return np.searchsorted(np.cumsum(counts)[:-1] / max(counts.sum(), 1), share, side="right")


def _correlated(scores: Floats, known: Bools, weights: Floats) -> Floats:
    """Normal score with each line's mean and variance; with the same weights, columns keep covariances."""
    n_known = known.sum(axis=1)
    mean = scores.sum(axis=1) / np.maximum(n_known, 1)
    away = np.where(known, scores - mean[:, np.newaxis], 0.0)
    found: Floats = mean + (weights * away).sum(axis=1) / np.sqrt(np.maximum(n_known - 1, 1))
    return found


def _coordinates(column: Bins, scores: Floats | None, rng: np.random.Generator) -> Floats:
    """Columns in which rows with like values are near: a number's score, or a point per category."""
    missing = column.of_row == MISSING
    if scores is None:
        n = len(column.low) + 1  # the last one for missing values
        points = np.eye(n) if n <= _WIDTH else rng.standard_normal((n, _WIDTH)) / np.sqrt(_WIDTH)
        return points[column.of_row]
    values = np.where(missing, 0.0, scores[column.of_row])
    values /= values.std() or 1.0
    return np.stack([values, missing] if missing.any() else [values], axis=1)


class RareRows:
    """Tells rows that equal one to `LEAST - 1` rows of a matrix."""

    def __init__(self, X: Floats) -> None:
        self._factors = np.random.default_rng(0).integers(1, 2**63, X.shape[1], dtype=np.uint64) | np.uint64(
            1
        )
        digests, counts = np.unique(self._digests(X), return_counts=True)
        self._rare = digests[counts < LEAST]

    def holds(self, X: Floats) -> Bools:
        """Whether each row is among them; two rows share a digest once in 10**19."""
        return np.isin(self._digests(X), self._rare)

    def _digests(self, X: Floats) -> NDArray[np.uint64]:
        bits = np.where(np.isnan(X), np.nan, X + 0.0).view(np.uint64)  # one pattern for missing, one for zero
        bits = (bits ^ (bits >> np.uint64(29))) * self._factors
        digests: NDArray[np.uint64] = (bits ^ (bits >> np.uint64(32))).sum(axis=1, dtype=np.uint64)
        return digests
