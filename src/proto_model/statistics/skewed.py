"""What values of a metric agree with the rows, from the contributions of the rows: mean, spread and skewness.

The distribution is a gamma one, shifted, with the quantiles of Student's t as its base: it leans to the side
where rare rows weigh much, as the exact distribution of a rare share does. A class with few rows cannot show
its spread, so the spread of a class is mixed with that of all, and pseudo-rows stand for what was not seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

_MIXED_IN = 2.0
_MAX_SKEW = 2.0


def spread(contributions: Floats, y: NDArray[np.int64]) -> tuple[float, float, float]:
    """Variance of the metric, its skewness, and the degrees of freedom that the variance has."""
    n = len(contributions)
    n_rows = np.bincount(y)
    n_rows = n_rows[n_rows > 0]
    _, codes = np.unique(y, return_inverse=True)
    # In units of the row's class: its share of the class's mean.
    effects = contributions * (n_rows[codes] / n)
    sums = np.bincount(codes, weights=effects**2)
    # Weighted so that a rare class counts as much as its contributions to the metric do.
    pooled = float((sums / n_rows**2).sum() / (1.0 / n_rows).sum()) if len(n_rows) > 1 else sums[0] / n
    mixed = (sums + _MIXED_IN * pooled) / (np.maximum(n_rows - 1, 0) + _MIXED_IN)
    parts = mixed / n_rows
    variance = float(parts.sum())
    if variance == 0:
        return 0.0, 0.0, float(n - 1)
    third = float((np.bincount(codes, weights=effects**3) / n_rows**3).sum())
    freedom = variance**2 / float((parts**2 / (np.maximum(n_rows - 1, 0) + _MIXED_IN)).sum())
    return variance, third / variance**1.5, freedom


def pseudo_rows(
    metric: str,
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    class_index: int | None,
) -> float:
    """Variance that a model's pseudo-row adds to a metric: one row in all, as rare classes weigh it.

    The rows of a class are those that its share divides by: those predicted as such, for precision, and for
    F1 and F2 a part of these and of its own.
    """
    own = {"precision": 0.0, "f1": 0.5, "f2": 0.8}[metric.removesuffix("_macro")]
    of_class = np.bincount(y, minlength=n_classes)
    as_class = np.bincount(predicted[predicted >= 0], minlength=n_classes)
    chosen = of_class > 0 if class_index is None else np.arange(n_classes) == class_index
    n_rows = (own * of_class + (1 - own) * as_class)[chosen]
    inverse = 1.0 / (n_rows + 1.0)
    return float((inverse**3).sum() / inverse.sum()) / len(inverse) ** 2


def skewed_draws(
    value: float, contributions: Floats, y: NDArray[np.int64], extra: float, n_draws: int
) -> Floats:
    """Quantiles of the distribution around `value`, evenly spaced, ascending."""
    variance, skewness, freedom = spread(contributions, y)
    total = variance + extra
    if total == 0:
        return np.full(n_draws, value)
    skewness *= (variance / total) ** 1.5
    levels = (np.arange(n_draws) + 0.5) / n_draws
    base = stdtrit(max(freedom, 1.0), levels)
    # Half a pseudo-row, as of a mid-p interval.
    shift = float(np.clip(2.0 * skewness, -_MAX_SKEW, _MAX_SKEW)) / 4.0
    return np.asarray(np.sort(value + np.sqrt(total) * (lean(base, skewness) + shift)))


def lean(base: Floats, skewness: float) -> Floats:
    """Standard quantiles that lean to the side of the skewness (Hall 1992, monotone).

    Twice the skewness, as the exact distribution of a rare share has it (a gamma one) when its estimate has
    it once.
    """
    doubled = float(np.clip(2.0 * skewness, -_MAX_SKEW, _MAX_SKEW))
    if abs(doubled) < 1e-6:
        return base
    # Wilson and Hilferty's cube, which is monotone; it is a gamma distribution of this skewness.
    cube = (1.0 + doubled * base / 6.0 - doubled**2 / 36.0) ** 3
    return np.asarray(2.0 / doubled * (cube - 1.0))
