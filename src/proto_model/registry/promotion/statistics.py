"""How sure one can be that one of two models is better: paired bootstrap and McNemar's test.

Of the data both need only how many rows of each class which of the two models predicted right. So they cost
the same for a thousand rows as for a million, and anybody can recompute them from the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

__all__ = [
    "PairedCounts",
    "bootstrap_differences",
    "count_pairs",
    "interval",
    "mcnemar_p_value",
    "mean_recall",
]

_MAX_DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class PairedCounts:
    """Rows of each class by which of two models predicted them right; arrays of shape (n_classes,).

    Parameters
    ----------
    n_rows : ndarray
        Rows of the class.
    both, first_only, second_only : ndarray
        Those that both models predicted right, only the first, only the second.
    """

    n_rows: NDArray[np.int64]
    both: NDArray[np.int64]
    first_only: NDArray[np.int64]
    second_only: NDArray[np.int64]

    def recalls(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Recall of each class by the first and by the second model; NaN for a class without rows."""
        n_rows = np.where(self.n_rows > 0, self.n_rows, np.nan)
        return (self.both + self.first_only) / n_rows, (self.both + self.second_only) / n_rows


def count_pairs(
    y: NDArray[np.int64], y_first: NDArray[np.int64], y_second: NDArray[np.int64], n_classes: int
) -> PairedCounts:
    """Counts of rows by class and by which of two models predicted them right.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        True classes as indices below `n_classes`.
    y_first, y_second : ndarray of shape (n_samples,)
        Predicted classes; a number that is no class's index counts as wrong.
    n_classes : int
        Number of classes.

    Returns
    -------
    PairedCounts

    Examples
    --------
    >>> counts = count_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 0, 0]), 2)
    >>> counts.both, counts.first_only, counts.second_only
    (array([1, 0]), array([0, 1]), array([1, 0]))
    """
    first, second = y_first == y, y_second == y

    def per_class(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(y[rows], minlength=n_classes)

    return PairedCounts(
        n_rows=np.bincount(y, minlength=n_classes),
        both=per_class(first & second),
        first_only=per_class(first & ~second),
        second_only=per_class(second & ~first),
    )


def mean_recall(recalls: NDArray[np.float64]) -> float:
    """Balanced accuracy: mean of the recalls of the classes that have rows, as scikit-learn has it."""
    return float(np.nanmean(recalls))


def bootstrap_differences(counts: PairedCounts, n_resamples: int, random_state: int) -> NDArray[np.float64]:
    """Balanced accuracy of the second model minus that of the first, on resampled rows.

    The bootstrap is paired (a drawn row brings both models' predictions) and stratified (each class keeps its
    number of rows, so that a rare class never drops out of the mean) [1]_. Drawing the rows of a class with
    replacement and counting who was right is one multinomial draw, which is what is computed.

    Parameters
    ----------
    counts : PairedCounts
        What the two models got right; at least one class has rows.
    n_resamples : int
        Number of resamples.
    random_state : int
        Seed; equal counts and seeds give equal numbers.

    Returns
    -------
    ndarray of shape (n_resamples,)

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
    """
    present = counts.n_rows > 0
    n_rows = counts.n_rows[present]
    shares = (
        np.stack([counts.first_only, counts.second_only, counts.n_rows], axis=1)[present] / n_rows[:, None]
    )
    shares[:, 2] -= shares[:, 0] + shares[:, 1]
    shares = shares.clip(0.0, 1.0)
    generator = np.random.default_rng(random_state)
    differences = np.empty(n_resamples)
    step = max(1, _MAX_DRAWS_AT_ONCE // shares.size)
    for start in range(0, n_resamples, step):
        part = differences[start : start + step]
        drawn = generator.multinomial(n_rows, shares, size=(len(part), len(n_rows)))
        part[:] = ((drawn[:, :, 1] - drawn[:, :, 0]) / n_rows).mean(axis=1)
    return differences


def interval(differences: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Percentile confidence interval of bootstrapped differences.

    Examples
    --------
    >>> interval(np.linspace(0.0, 1.0, 101), confidence=0.9)
    (0.05, 0.95)
    """
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return round(float(low), 12) + 0.0, round(float(high), 12) + 0.0


def mcnemar_p_value(first_only: int, second_only: int) -> float:
    """Two-sided p-value of McNemar's test in its exact form, at any count.

    The null hypothesis: of the rows that just one of the two models predicted right, each is as likely to be
    the first model's as the second's [1]_.

    Parameters
    ----------
    first_only, second_only : int
        Rows that only the first, only the second model predicted right.

    Returns
    -------
    float
        1 when no row tells the models apart.

    References
    ----------
    .. [1] Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
       percentages", Psychometrika 12, 1947. https://doi.org/10.1007/BF02295996

    Examples
    --------
    >>> mcnemar_p_value(1, 5)
    0.21875
    """
    n_discordant = first_only + second_only
    if n_discordant == 0:
        return 1.0
    return float(binomtest(min(first_only, second_only), n_discordant, 0.5).pvalue)
