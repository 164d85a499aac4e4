"""Intervals of shares of rows, of means of shares, and of what two shares have to each other.

A confidence distribution of a share of x in n rows lies between Beta(x, n - x + 1) and Beta(x + 1, n - x):
the ends of Clopper and Pearson's interval (1934) are their quantiles, and its coverage is at least nominal
for every n and every share. No error in n rows gives about 3.7 / n, never a width of zero. Means, ratios and
differences of shares combine such distributions ("melded" intervals: Fay, Proschan and Brittain 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from proto_model.statistics.interval import Interval
from proto_model.statistics.pair_counts import pseudo_counts

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

N_DRAWS = 10_000
_MAX_DRAWN = 20_000_000


def share_interval(n_right: float, n_rows: float, confidence: float = 0.95) -> Interval:
    """Clopper and Pearson's interval of a share; from 0 to 1 without rows.

    Counts need not be whole: effective numbers of rows give the interval of Korn and Graubard (1998).

    Examples
    --------
    >>> print(share_interval(194, 194).shown())
    1.000 (0.981 to 1.000)
    """
    if n_rows <= 0:
        return Interval(0.0, 0.0, 1.0, confidence)
    error = (1 - confidence) / 2
    n_wrong = n_rows - n_right
    low = float(betaincinv(n_right, n_wrong + 1, error)) if n_right > 0 else 0.0
    high = float(betaincinv(n_right + 1, n_wrong, 1 - error)) if n_wrong > 0 else 1.0
    share = n_right / n_rows
    return Interval(share, min(low, share), max(high, share), confidence)


def mean_of_shares(n_right: Counts, n_rows: Counts, confidence: float = 0.95) -> Interval:
    """Interval of the mean of shares, one per class: balanced accuracy, or macro precision.

    One pseudo-row, over all classes together, is wrong for the lower end and right for the upper one; a class
    gets the more of it, the fewer rows it has. With one class this is Clopper and Pearson's interval. A share
    without rows counts as 0 and may be anything.
    """
    empty = n_rows == 0
    n_empty, n_shares = int(empty.sum()), len(n_rows)
    if n_empty == n_shares:
        return Interval(0.0, 0.0, 1.0, confidence)
    right, rows = n_right[~empty], n_rows[~empty]
    estimate = float((right / rows).sum()) / n_shares
    order = np.lexsort((right, rows))
    low = _mean_bound(right[order], rows[order], (1 - confidence) / 2)
    high = 1 - _mean_bound((rows - right)[order], rows[order], (1 - confidence) / 2)
    filled = 1 - n_empty / n_shares
    low, high = low * filled, high * filled + n_empty / n_shares
    return Interval(estimate, min(low, estimate), max(high, estimate), confidence)


def _mean_bound(n_right: Counts, n_rows: Counts, error: float) -> float:
    """Lower bound of a mean of shares."""
    if len(n_rows) == 1:
        return share_interval(n_right[0], n_rows[0], 1 - 2 * error).low
    generator = np.random.default_rng(0)
    n_draws = int(np.clip(_MAX_DRAWN // (2 * len(n_rows)), 1_000, N_DRAWS))
    total = np.zeros(n_draws)
    for right, rows, pseudo in zip(n_right, n_rows, pseudo_counts(n_rows), strict=True):
        total += share_draws(generator, float(right), float(rows - right) + pseudo, n_draws)
    return float(np.quantile(total / len(n_rows), error))


def share_draws(generator: np.random.Generator, right: float, wrong: float, n_draws: int) -> Floats:
    """Draws of a Beta distribution; its parameters may be 0."""
    if right == 0 or wrong == 0:
        return np.full(n_draws, 0.0 if right == 0 else 1.0)
    return generator.beta(right, wrong, size=n_draws)


def f1_interval(n_found: int, n_missed: int, n_alarms: int, confidence: float = 0.95) -> Interval:
    """Interval of F1, from the class's rows that were found, missed, and called so wrongly.

    F1 is a function of the share of the found ones among all three (Jaccard's index), so it is exact, too.
    """
    index = share_interval(n_found, n_found + n_missed + n_alarms, confidence)
    estimate, low, high = (2 * value / (1 + value) for value in (index.estimate, index.low, index.high))
    return Interval(estimate, low, high, confidence)


def two_shares(
    first: tuple[int, int], second: tuple[int, int], *, ratio: bool, confidence: float
) -> tuple[float, float]:
    """Ends of the interval of `first / second` (or `first - second`), from right and all rows of each."""
    error = (1 - confidence) / 2

    def drawn(right: int, rows: int, pseudo_right: int, stream: int) -> Floats:
        generator = np.random.default_rng([0, stream])
        return share_draws(generator, right + pseudo_right, rows - right + 1 - pseudo_right, N_DRAWS)

    bounds = []
    for pseudo, level in ((0, error), (1, 1 - error)):
        ours, theirs = drawn(*first, pseudo, 0), drawn(*second, 1 - pseudo, 1)
        if ratio:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(theirs > 0, ours / theirs, np.inf if pseudo else 0.0)
        else:
            values = ours - theirs
        bounds.append(float(np.quantile(values, level, method="lower" if pseudo == 0 else "higher")))
    return bounds[0], bounds[1]
