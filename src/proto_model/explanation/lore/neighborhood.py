"""The rows that the engine learns from: in bins, scored once (the pool), and drawn around one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.interface import Bools, Floats, Ints, PredictProba
from proto_model.explanation.lore.relevance import read_features
from proto_model.explanation.measures import draw_marginals

MAX_COARSE = 16
MAX_POOL = 12000
MAX_VALUES = 2_000_000
CHUNK = 5000


@dataclass(frozen=True, eq=False)
class Bins:
    """Coded rows as bins: one small whole number per value, in one numbering for all features.

    Numbers fall between the background's cut points, categories are their codes, and a missing value has the
    last bin of its feature. Trees, rules and counterfactuals are all found by counting rows per bin.
    `coarse` is a coarser numbering: neighbouring bins together, at most `MAX_COARSE` and one for missing.
    """

    background: Background
    first: Ints
    last: Ints
    feature: Ints
    coarse: NDArray[np.int32]
    coarse_feature: Ints
    coarse_last: Ints

    @property
    def n_bins(self) -> int:
        """Number of bins of all features together."""
        return len(self.feature)

    @classmethod
    def of(cls, background: Background) -> Bins:
        """Bins that the background's cut points and categories make."""
        counts = np.where(
            background.numeric, [len(cuts) + 2 for cuts in background.cuts], background.n_codes + 1
        ).astype(np.int64)
        ends = np.cumsum(counts)
        first, feature = ends - counts, np.repeat(np.arange(len(counts)), counts)
        known = (counts - 1)[feature]  # without the bin for missing values
        local = np.arange(ends[-1]) - first[feature]
        group = np.where(known > MAX_COARSE, local * MAX_COARSE // np.maximum(known, 1), local)
        begins = np.append(True, (group[1:] != group[:-1]) | (feature[1:] != feature[:-1]))
        last = np.flatnonzero(np.append(begins[1:], True))
        return cls(
            background=background,
            first=first,
            last=ends - 1,
            feature=feature,
            coarse=(np.cumsum(begins) - 1).astype(np.int32),
            coarse_feature=feature[last],
            coarse_last=last,
        )

    def __call__(self, X: Floats) -> Ints:
        """Bin of each value of a coded matrix."""
        bins = np.empty(X.shape, dtype=np.int64)
        for j, cuts in enumerate(self.background.cuts):
            column = X[:, j]
            missing = np.isnan(column)
            if self.background.numeric[j]:
                inside = np.searchsorted(cuts, column)
            else:
                inside = np.where(missing, 0.0, column).astype(np.int64)
            bins[:, j] = np.where(missing, self.last[j], self.first[j] + inside)
        return bins

    def each(self, features: Ints, values: Floats) -> Ints:
        """Bin of each value of a given feature: cheaper than whole rows where few of their values matter."""
        missing = np.isnan(values)
        # Comparing with all cut points of a feature costs less than a search per feature.
        inside = (self._cuts[features] < values[:, np.newaxis]).sum(axis=1)
        numeric = self.background.numeric[features]
        inside = np.where(numeric, inside, np.where(missing | numeric, 0.0, values).astype(np.int64))
        return np.where(missing, self.last[features], self.first[features] + inside)

    @cached_property
    def _cuts(self) -> Floats:
        """Cut points per feature, filled up with what no value is above."""
        cuts = self.background.cuts
        filled = np.full((len(cuts), max(map(len, cuts), default=0)), np.inf)
        for j, own in enumerate(cuts):
            filled[j, : len(own)] = own
        return filled


@dataclass(frozen=True, eq=False)
class Pool:
    """The background and a sample of rows with independent features, each with the model's answer.

    Every `MARGINAL`-th row of the sample has its values as often as the background has; in the others, half
    of the numbers are uniform in their range.
    """

    MARGINAL: ClassVar[int] = 2

    bins: Bins
    codes: NDArray[np.int32]  # (n_rows, n_features): bins of the sample's rows
    labels: Ints
    probabilities: Floats
    real_codes: NDArray[np.int32]  # the same for the background's rows
    real_labels: Ints
    read: Bools  # whether the model reads the feature at all

    @classmethod
    def build(cls, background: Background, predict_proba: PredictProba, seed: int = 0) -> Pool:
        """Draw the rows and ask the model, in a few large calls."""
        bins = Bins.of(background)
        n_rows = int(min(MAX_POOL, max(1000, MAX_VALUES // background.n_features)))
        rng = np.random.Generator(np.random.SFC64(seed))
        X = draw_marginals(background, n_rows, rng)
        uniform = background.low + rng.random(X.shape) * (background.high - background.low)
        uniform = np.where(background.whole, np.round(uniform), uniform)
        # Rules bound numbers where few rows are; uniform values put rows there, too.
        swap = background.numeric & (rng.random(X.shape) < 0.5) & ~np.isnan(X) & ~np.isnan(uniform)
        swap[:: cls.MARGINAL] = False
        X = np.where(swap, uniform, X)
        probabilities = np.concatenate(
            [predict_proba(X[start : start + CHUNK]) for start in range(0, n_rows, CHUNK)]
        )
        nullable = np.array([feature.nullable for feature in background.schema.features])
        may_miss = nullable | np.isnan(background.matrix).any(axis=0)
        return cls(
            bins=bins,
            read=read_features(X, probabilities, may_miss, predict_proba, rng),
            codes=bins(X).astype(np.int32),
            labels=probabilities.argmax(axis=1),
            probabilities=probabilities,
            real_codes=bins(background.matrix).astype(np.int32),
            real_labels=predict_proba(background.matrix).argmax(axis=1),
        )


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Rows that keep each value of x with probability 1/2, and otherwise have one of the background."""

    X: Floats
    codes: Ints  # bins of the values
    kept: Bools  # which values are x's

    @classmethod
    def draw(cls, x: Floats, own: Ints, pool: Pool, n_rows: int, rng: np.random.Generator) -> Neighborhood:
        """Neighbours of the row `x` with bins `own`."""
        matrix = pool.bins.background.matrix
        shape = (n_rows, len(x))
        kept = rng.integers(0, 2, size=shape, dtype=np.uint8).astype(np.bool_)
        picks = rng.integers(0, len(matrix), size=shape, dtype=np.uint16 if len(matrix) < 65536 else np.int64)
        flat = picks * np.int64(len(x)) + np.arange(len(x))
        return cls(
            X=np.where(kept, x, matrix.ravel()[flat]),
            codes=np.where(kept, own, pool.real_codes.ravel()[flat]),
            kept=kept,
        )
