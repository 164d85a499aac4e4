"""Columns in bins that enough training rows share; of a value, its bin is all that drawing rows uses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import short_number_between
from proto_model.schema import DATE_TYPES, Feature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST = 10
"""Training rows that share a bin, or a group; what fewer of them have in common is not drawn as such."""

MISSING = -1
_FINEST = 100  # bins of a number, where there are rows enough: explanations tell no more values apart
_MOST_DIGITS = 6


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of a column, from `low` to `high`, and the bin of each training row, `MISSING` without a value.

    A value that at least `LEAST` rows have is a bin of its own: its bounds are equal. Other numbers share a
    bin with their neighbours. Rows of other categories, and other missing values, are spread over the rest.
    In a bin, any value is as likely as any other, but at the ends of a column, where one outlier makes a bin
    wide, half of the values lie as near to the next bin as that is wide.
    """

    low: Floats
    high: Floats
    of_row: Ints
    whole: bool
    digits: int  # after the decimal point, at most: as many as the column has

    @property
    def counts(self) -> Ints:
        """Training rows per bin."""
        return np.bincount(self.of_row[self.of_row != MISSING], minlength=len(self.low))

    def draw(self, bins: Ints, rng: np.random.Generator) -> Floats:
        """A value of each bin, which depends on nothing but the bins."""
        low, high = self.low[bins], self.high[bins]
        first, last = self._bends()
        away = rng.random(len(bins)) ** np.where(
            bins == 0, first, np.where(bins == len(self.low) - 1, last, 1.0)
        )
        away *= high - low + self.whole
        upward = (bins > 0) | (first == 1)
        if self.whole:
            values = np.where(upward, low + np.floor(away), high - np.floor(away))
        else:
            values = np.where(upward, low + away, high - away)
            bent = (bins == 0) & (first > 1) | (bins == len(self.low) - 1) & (last > 1)
            values = np.where(
                low < high, _rounded(values, np.where(bent, away, high - low), self.digits), low
            )
        values = np.clip(values, self.low.min(), self.high.max())
        return np.where(bins == MISSING, np.nan, values)

    def _bends(self) -> tuple[float, float]:
        """Powers that bring values of the first and the last bin near to the bin beside it; 1 for none."""
        width = self.high - self.low
        ends = [(0, 1), (-1, -2)] if len(width) > 1 else []
        bends = [
            math.log2(max(width[end] / width[beside], 2)) if width[beside] else 1 for end, beside in ends
        ]
        first, last = bends or (1.0, 1.0)
        return first, last


def is_number(feature: Feature) -> bool:
    """Whether its values have an order and distances, as numbers and dates do."""
    return feature.type in ("double", "long", *DATE_TYPES)


def bins_of(feature: Feature, column: Floats, rng: np.random.Generator) -> Bins:
    """Bins of a coded column of the training rows."""
    missing = np.isnan(column)
    n_missing = int(missing.sum())
    if 0 < n_missing < LEAST and n_missing < len(column):  # that it is missing is rare in itself
        column = column.copy()
        column[missing] = rng.choice(column[~missing], n_missing)
        missing = np.zeros(len(column), dtype=np.bool_)
    elif n_missing > len(column) - LEAST and n_missing >= LEAST:  # that it is known is
        missing = np.ones(len(column), dtype=np.bool_)
    if is_number(feature):
        return _of_numbers(feature, column, missing)
    n_codes = 2 if feature.categories is None else max(len(feature.categories), 1)
    return _of_codes(column, missing, n_codes, rng)


def _of_codes(column: Floats, missing: Bools, n_codes: int, rng: np.random.Generator) -> Bins:
    codes = np.where(missing, 0, column).astype(np.int64)
    counts = np.bincount(codes[~missing], minlength=n_codes)
    common = np.flatnonzero(counts >= LEAST)
    rare = ~missing & (counts[codes] < LEAST)
    if len(common):
        codes[rare] = rng.choice(common, int(rare.sum()), p=counts[common] / counts[common].sum())
    else:  # of so few rows nothing is used: the schema names all categories
        codes[rare] = rng.integers(0, n_codes, int(rare.sum()))
    values = np.arange(n_codes, dtype=np.float64)
    return Bins(values, values, np.where(missing, MISSING, codes), True, 0)


def _of_numbers(feature: Feature, column: Floats, missing: Bools) -> Bins:
    whole = feature.type != "double"
    of_row = np.full(len(column), MISSING)
    if missing.all():
        return Bins(np.zeros(1), np.zeros(1), of_row, whole, 0)
    values, inverse, counts = np.unique(column[~missing], return_inverse=True, return_counts=True)
    floor = values[0] if feature.minimum is None else min(feature.minimum, values[0])
    ceiling = values[-1] if feature.maximum is None else max(feature.maximum, values[-1])
    first, n_rows = _runs(counts)
    last = np.append(first[1:] - 1, len(values) - 1)
    low, high = values[first], values[last]
    edges = np.concatenate([[-math.inf], values, [math.inf]])
    for b in np.flatnonzero(counts[first] < LEAST):
        if len(first) == 1 and n_rows[b] < LEAST:
            low[b], high[b] = floor, ceiling  # too few rows to use anything but the range in the schema
        elif n_rows[b] >= LEAST:
            low[b], high[b] = _outward(
                edges[first[b] : first[b] + 2], edges[last[b] + 1 : last[b] + 3], whole
            )
        else:  # left over between common values: they count as the one beside them
            low[b] = high[b] = values[first[b - 1 if b else b + 1]]
    of_row[~missing] = np.repeat(np.arange(len(first)), last - first + 1)[inverse]
    return Bins(
        np.maximum(low, floor), np.minimum(high, ceiling), of_row, whole, 0 if whole else _digits(values)
    )


def _runs(counts: Ints) -> tuple[Ints, Ints]:
    """Index of the first value of each bin, and the bin's rows: common values alone, others in runs."""
    common = counts >= LEAST
    # A stretch is one common value, or all values between two of them.
    begins = np.append(True, common[1:] | common[:-1])
    starts = np.flatnonzero(begins)
    stretch = np.cumsum(begins) - 1
    before = np.cumsum(counts) - counts
    # Cut at every `size` rows, a run has at least LEAST: one rare value more or less fits in between.
    size = max(LEAST, int(counts.sum()) // _FINEST) + LEAST - 1
    most = np.maximum(np.add.reduceat(counts, starts) // size, 1) - 1
    part = np.minimum((before - before[starts][stretch]) // size, most[stretch])
    part[common] = 0
    first = np.flatnonzero(begins | np.append(True, part[1:] != part[:-1]))
    return first, np.add.reduceat(counts, first)


def _outward(lower: Floats, upper: Floats, whole: bool) -> tuple[float, float]:
    """Bounds of a run: rounded away from its first and last value, towards the neighbours but not beyond.

    `lower` is the value before the run and its first one, `upper` its last value and the one after.
    """
    (before, first), (last, after) = lower.tolist(), upper.tolist()
    unit = 10.0 ** math.floor(math.log10((last - first) / 5))
    unit = max(unit, 1.0) if whole else unit
    low, high = math.floor(first / unit) * unit, math.ceil(last / unit) * unit
    if low <= before:
        low = before + 1 if whole else short_number_between(before, first)
    if high >= after:
        high = after - 1 if whole else short_number_between(last, after)
    return low, high


def _digits(values: Floats) -> int:
    """Decimal places that tell the column's values apart, at most `_MOST_DIGITS`."""
    for digits in range(_MOST_DIGITS):
        scaled = values * 10.0**digits
        if (np.abs(scaled - np.round(scaled)) <= 1e-9 * np.maximum(np.abs(scaled), 1)).all():
            return digits
    return _MOST_DIGITS


def _rounded(values: Floats, width: Floats, digits: int) -> Floats:
    """Numbers with the digits that tell a hundredth of the width apart, and no more than the column has."""
    with np.errstate(divide="ignore"):
        places = 2 - np.floor(np.log10(width))
    if digits < _MOST_DIGITS:
        places = np.minimum(places, digits)
    places = np.clip(places, -300, 300)
    up = 10.0 ** np.abs(places)
    rounded: Floats = np.where(places >= 0, np.round(values * up) / up, np.round(values / up) * up)
    return rounded
