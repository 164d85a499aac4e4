"""Search for a rule: as many real rows as possible, as few of another class as asked.

A rule is a box: one run of neighbouring bins per feature. The bins of a category stand in the order of their
share of the class, so that a run is a sensible set. From the box of everything, the search cuts away what
holds most rows of other classes, then widens each side again. It counts rows of the pool, which are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.interface import Bools, Floats, Ints
from proto_model.explanation.lore.neighborhood import Pool
from proto_model.explanation.measures import settled
from proto_model.explanation.rule import Premise, Rule

MAX_CUTS = 16
COUNTED = 1500
READABLE = 4
ENOUGH = 20

Marked = tuple[Ints, Bools]
"""Rows by the bins of their values, and whether each is of the class."""


@dataclass(frozen=True, eq=False)
class Box:
    """Lowest and highest allowed position per feature, in the order of the class that it explains."""

    low: Ints
    high: Ints

    def with_side(self, j: int, low: int, high: int) -> Box:
        """The box with another run for one feature."""
        lows, highs = self.low.copy(), self.high.copy()
        lows[j], highs[j] = low, high
        return Box(lows, highs)


@dataclass(frozen=True, eq=False)
class _Counts:
    """Rows per position, and rows of the class."""

    rows: Floats
    hits: Floats
    n_hits: int

    @classmethod
    def of(cls, positions: NDArray[np.signedinteger], hit: Bools, n_bins: int) -> _Counts:
        """Counts of rows given by the positions of their values; the last axis is the rows'."""
        # One pass for both: a row of the class adds to the second of its position's two places.
        both = np.bincount((positions * 2 + hit).ravel(), minlength=2 * n_bins).reshape(-1, 2)
        hits = both[:, 1].astype(np.float64)
        return cls(both[:, 0] + hits, hits, int(hit.sum()))

    def sums(self) -> tuple[Floats, Floats]:
        """Rows and hits in front of each position and after the last: those of any run are one difference."""
        return np.append(0.0, np.cumsum(self.rows)), np.append(0.0, np.cumsum(self.hits))


@dataclass(frozen=True, eq=False)
class _Sample:
    """Positions of the values of scored rows, feature by feature, and whether each row is of the class."""

    columns: NDArray[np.int32]
    hit: Bools

    def after(self, positions: NDArray[np.int32], hit: Bools) -> _Sample:
        return _Sample(np.concatenate([positions.T, self.columns], axis=1), np.concatenate([hit, self.hit]))

    def counts(self, n_bins: int, rows: Ints | slice) -> _Counts:
        return _Counts.of(self.columns[:, rows], self.hit[rows], n_bins)

    def outside(self, box: Box, j: int) -> Bools:
        outside: Bools = (self.columns[j] < box.low[j]) | (self.columns[j] > box.high[j])
        return outside

    def within(self, box: Box, j: int, among: Ints) -> Ints:
        column = self.columns[j][among]
        inside: Ints = among[(column >= box.low[j]) & (column <= box.high[j])]
        return inside


class RuleSearch:
    """Rules for one class, found on the rows of a pool."""

    def __init__(self, pool: Pool, label: int) -> None:
        self.pool, self.label = pool, label
        bins, background = pool.bins, pool.bins.background
        hit = pool.labels == label
        native = _Counts.of(pool.codes.T, hit, bins.n_bins)
        share = (native.hits + 5 * hit.mean()) / (native.rows + 5)  # rare categories stay in the middle
        key = np.where(background.numeric[bins.feature], np.arange(bins.n_bins), share)
        self.order = np.lexsort((key, bins.feature))
        self.position = np.empty(bins.n_bins, dtype=np.int32)
        self.position[self.order] = np.arange(bins.n_bins)
        self._made = _Sample(np.ascontiguousarray(self.position[pool.codes].T), hit)
        real = np.ascontiguousarray(self.position[pool.real_codes].T)
        self._real = _Sample(real, pool.real_labels == label)
        self._marginal = np.ascontiguousarray(self._made.columns[:, :: pool.MARGINAL])
        self._everything = Box(bins.first, bins.last)
        self._root = tuple(sample.counts(bins.n_bins, slice(None)) for sample in (self._made, self._real))
        nullable = np.array([feature.nullable for feature in background.schema.features])
        self._no_missing = ~nullable & ~np.isnan(background.matrix).any(axis=0)
        self._large = ~background.numeric & (background.n_codes > 2 * READABLE)

    def find(self, own: Ints, target: float, extra: Marked | None = None, near: Marked | None = None) -> Box:
        """Box around the row with bins `own` whose precision on the pool and on real rows reaches `target`.

        `extra` are further rows that count beside the pool's. Those `near` the row count, too, where the pool
        says nothing of it: it has no row with a value that the row has, or no cut makes it purer.
        """
        if self.pool.bins.background.synthetic:
            # Drawn rows have fewer exceptions than real ones, so half as many of them may be missed.
            target = (1 + target) / 2
        mine = self.position[own].astype(np.int64)
        made = self._made if extra is None else self._made.after(self.position[extra[0]], extra[1])
        box = self._cut(mine, target, made)
        unseen = self.pool.read & (self._root[0].rows[mine] == 0)
        if near is not None and (unseen.any() or box is self._everything):
            made = made.after(self.position[near[0]], near[1])
            box = self._cut(mine, target, made)
        return self._widen(box, target, made)

    def _cut(self, own: Ints, target: float, made: _Sample) -> Box:
        """From everything down to a box that reaches the target, one cut at a time."""
        bins = self.pool.bins
        box = self._everything
        at = np.arange(bins.n_bins)
        feature, mine = bins.feature, own[bins.feature]
        read = self.pool.read[feature]
        rows, real = np.arange(len(made.hit)), np.arange(len(self._real.hit))
        for _ in range(MAX_CUTS):
            hit, real_hit = made.hit[rows], self._real.hit[real]
            precision, real_precision = _share(hit), _share(real_hit)
            if len(rows) < ENOUGH or (precision >= target and real_precision >= target):
                break
            # A sample of the rows tells good cuts from bad ones; whether to stop is judged on all of them.
            samples = self._root  # counted once: the first cut is the dearest
            if made is not self._made or box is not self._everything:
                samples = (made.counts(bins.n_bins, rows[:COUNTED]), self._real.counts(bins.n_bins, real))
            low, high = box.low[feature], box.high[feature]
            # Every cut of every feature at once: how much purer the rows get, for the hits that are left.
            scores = np.full((2, bins.n_bins), -np.inf)
            for side, valid in enumerate(
                [(at >= mine) & (at < high) & read, (at > low) & (at <= mine) & read]
            ):
                better, left = np.zeros(bins.n_bins), np.zeros(bins.n_bins)
                for counts, before in zip(samples, (precision, real_precision), strict=True):
                    n, m = _kept(counts, box, feature, side)
                    better += np.log((m + before + 1e-9) / (n + 1)) - np.log(before + 1e-9)
                    left += (m + 0.5) / (counts.n_hits + 0.5)
                size = at - low + 1 if side == 0 else high - at + 1
                # A set of many categories, and many left out, is hard to read.
                hard = self._large[feature] & (np.minimum(size, high - low + 1 - size) > READABLE)
                value = settled(better) * left**2 * np.where(hard, 0.5, 1.0)
                scores[side] = np.where(valid, value, -np.inf)
            side, best = divmod(int(scores.argmax()), bins.n_bins)
            if not scores[side, best] > 0:
                break
            j = int(feature[best])
            run = (int(box.low[j]), best) if side == 0 else (best, int(box.high[j]))
            box = box.with_side(j, *run)
            # Only the rows still inside are looked at again: each cut is cheaper than the one before.
            rows, real = made.within(box, j, rows), self._real.within(box, j, real)
        return box

    def _widen(self, box: Box, target: float, made: _Sample) -> Box:
        """The box with every side as wide as the target allows; sides that reach all over are dropped."""
        bins = self.pool.bins
        sides = self._sides(box)
        samples = [(sample, [sample.outside(box, j) for j in sides]) for sample in (made, self._real)]
        # A side that has grown may have made room for others or taken it, so every side has two turns.
        settled = 0  # sides in a row that are as wide as the others allow
        for k, j in [*enumerate(sides)] * 2:
            if settled == len(sides):
                break
            settled += 1
            first, n_bins = int(bins.first[j]), int(bins.last[j] - bins.first[j]) + 1
            run = int(box.low[j]) - first, int(box.high[j]) - first
            if run == (0, n_bins - 1):
                continue
            made_counts, real_counts = (
                _free_counts(sample, outside, k, j, first, n_bins) for sample, outside in samples
            )
            low, high = _widest(made_counts, real_counts, *run, target)
            if (low, high) != run:
                box = box.with_side(j, low + first, high + first)
                settled = 1
                for sample, outside in samples:
                    outside[k] = sample.outside(box, j)
        return box

    def box(self, steps: list[tuple[int, int, bool]]) -> Box:
        """Box of the splits on a way through a tree over positions."""
        box = self._everything
        for j, threshold, above in steps:
            low, high = (threshold + 1, int(box.high[j])) if above else (int(box.low[j]), threshold)
            box = box.with_side(j, max(low, int(box.low[j])), min(high, int(box.high[j])))
        return box

    def similar(self, own: Ints, n_rows: int) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Positions and probabilities of the pool's rows that are most like neighbours of `own`, and weights.

        A weight is at most 1; together they say how many neighbours the rows are worth.
        """
        mine = self.position[own]
        frequency = np.maximum(self._root[1].rows[mine] / len(self._real.hit), 1e-3)
        likeness = np.zeros(self._marginal.shape[1])
        # A value that most rows have anyway says little of likeness.
        for column, position, weight in zip(
            self._marginal, mine, settled(0.5 * np.log(1 + 1 / frequency)), strict=True
        ):
            likeness += (column == position) * weight
        n_rows = min(n_rows, len(likeness))
        chosen = _largest(likeness, n_rows)
        # The sum over the sum of squares is the number of equally weighted rows that would say as much.
        weights = settled(np.exp(likeness[chosen] - likeness[chosen].max()))
        weights = np.minimum(weights * (weights.sum() / (weights**2).sum()), 1.0)
        rows = chosen * self.pool.MARGINAL
        return self._made.columns[:, rows].T, self.pool.probabilities[rows], weights

    def rule(self, box: Box, own: Ints) -> Rule:
        """The box as a rule; missing values are spoken of only where they can occur."""
        bins, background = self.pool.bins, self.pool.bins.background
        premises = []
        for j in self._sides(box):
            first, last = int(bins.first[j]), int(bins.last[j])
            if background.numeric[j]:
                premise = _interval(background, j, int(box.low[j]) - first, int(box.high[j]) - first)
                covers_all = premise.codes is None and premise.above == -np.inf and premise.at_most == np.inf
            else:
                codes = self.order[box.low[j] : box.high[j] + 1]
                known = tuple(sorted(int(code) - first for code in codes if code != last))
                premise = Premise(j, codes=known, or_missing=bool((codes == last).any()))
                covers_all = len(known) == background.n_codes[j]
            if not self._no_missing[j] or own[j] == last:
                premises.append(premise)
            elif not covers_all:
                premises.append(replace(premise, or_missing=False))
        return Rule(tuple(premises), self.label)

    def _sides(self, box: Box) -> list[int]:
        """Features that the box bounds."""
        bins = self.pool.bins
        return [int(j) for j in np.flatnonzero((box.low > bins.first) | (box.high < bins.last))]


def _interval(background: Background, j: int, low: int, high: int) -> Premise:
    """Premise of a number from its lowest and highest bin."""
    cuts = background.cuts[j]
    return Premise(
        j,
        above=float(cuts[low - 1]) if 0 < low <= len(cuts) else -np.inf,
        at_most=float(cuts[high]) if high < len(cuts) else np.inf,
        codes=() if low > len(cuts) else None,
        or_missing=high > len(cuts),
    )


def _kept(counts: _Counts, box: Box, feature: Ints, side: int) -> tuple[Floats, Floats]:
    """Rows and hits left by each cut: at or below a position (side 0), or from it on (side 1)."""
    rows, hits = counts.sums()
    if side == 0:
        start = box.low[feature]
        return rows[1:] - rows[start], hits[1:] - hits[start]
    end = box.high[feature] + 1
    return rows[end] - rows[:-1], hits[end] - hits[:-1]


def _free_counts(sample: _Sample, outside: list[Bools], k: int, j: int, first: int, n_bins: int) -> _Counts:
    """Counts per bin of feature `j`, the k-th side of a box, of the rows inside all its other sides."""
    # What this side itself shuts out is counted, too: that is what it could take in.
    others = [out for i, out in enumerate(outside) if i != k]
    rows = np.flatnonzero(~np.logical_or.reduce(others)) if others else np.arange(len(sample.hit))
    return _Counts.of(sample.columns[j][rows] - first, sample.hit[rows], n_bins)


def _widest(counts: _Counts, real: _Counts, low: int, high: int, target: float) -> tuple[int, int]:
    """The run from `low` to `high`, or the longer one that holds most rows of the class at the target."""
    n = len(counts.rows)
    lows, highs = np.arange(low + 1)[:, np.newaxis], np.arange(high, n)[np.newaxis]
    # All runs around the given one are compared at once, by lowest and highest position.
    (made, made_hits), (seen, seen_hits) = (
        [sums[highs + 1] - sums[lows] for sums in each.sums()] for each in (counts, real)
    )
    # A run without rows counts as good: it may be taken in on the way to a better one.
    good = (made_hits + target >= target * (made + 1)) & (seen_hits + target >= target * (seen + 1))
    share = seen_hits / max(real.hits.sum(), 1) + made_hits / max(counts.hits.sum(), 1)
    value = np.where(good, share, -1.0)
    value[low, 0] = max(value[low, 0], 0.0)
    # of equal runs, the one with fewer sides, then the wider one
    value += 1e-6 * ((lows == 0).astype(float) + (highs == n - 1)) + 1e-9 * (highs - lows)
    i, k = divmod(int(value.argmax()), value.shape[1])
    return i, k + high


def _largest(values: Floats, n: int) -> Ints:
    """Places of the n largest values, of equal ones the first; `argpartition` differs between CPUs there."""
    least = np.partition(values, len(values) - n)[len(values) - n]
    more = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: n - len(more)]
    return np.sort(np.concatenate([more, equal]))


def _share(hit: Bools) -> float:
    return float(hit.mean()) if len(hit) else 1.0
