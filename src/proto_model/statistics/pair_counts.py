"""The difference of two models' balanced accuracies, from counts of rows: draws of it, and its tails.

Counts are of shape (n_classes, 3): rows of a class, and those that only the first or only the second model
predicted right. The shares of a class follow a Dirichlet distribution: its counts and, over all classes
together, one pseudo-row for each model. A class gets the more of it, the fewer rows it has: there, an unseen
difference would weigh the most. With one class this is McNemar's test in its mid-p form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

N_DRAWS = 10_000
_MAX_DRAWN = 20_000_000
_NO_DIFFERENCE = 0.5
_LOST = 1.5


def checked(n_rows: Counts, first_only: Counts, second_only: Counts) -> Counts:
    """Counts of the classes that have rows, in an order that does not depend on the labels.

    A ValueError says that no class has rows, or that the counts contradict each other.
    """
    counts = np.stack([np.asarray(part, dtype=np.int64) for part in (n_rows, first_only, second_only)], 1)
    if (counts < 0).any() or (counts[:, 1] + counts[:, 2] > counts[:, 0]).any():
        raise ValueError("The counts contradict each other: more rows differ than there are.")
    counts = counts[counts[:, 0] > 0]
    if len(counts) == 0:
        raise ValueError("No class has rows, so there is nothing to compare.")
    return _in_order(counts)


def _in_order(counts: Counts) -> Counts:
    return counts[np.lexsort(counts.T)]


def turned(counts: Counts) -> Counts:
    """Counts with the models swapped."""
    return _in_order(counts[:, [0, 2, 1]])


def pseudo_counts(n_rows: Counts) -> Floats:
    """One pseudo-row over all classes: a class gets the more of it, the fewer rows it has."""
    inverse = 1.0 / n_rows
    return np.asarray(inverse / inverse.sum())


def _shapes(counts: Counts) -> Floats:
    """Parameters of the Dirichlet distributions: only the first right, only the second, no difference."""
    n_rows, pseudo = counts[:, 0], pseudo_counts(counts[:, 0])
    outcomes = np.stack([counts[:, 1], counts[:, 2], n_rows - counts[:, 1] - counts[:, 2]], axis=1)
    # Each class's own variance is estimated, which costs a row; without this, ten classes with three rows
    # each have an interval that covers .90 instead of .95.
    worth = np.maximum(n_rows - _LOST, 0.25) / n_rows
    extra = np.stack([pseudo, pseudo, np.full(len(counts), _NO_DIFFERENCE)], axis=1)
    return np.asarray(outcomes * worth[:, np.newaxis] + extra)


def draws(counts: Counts) -> Floats:
    """Draws of the difference, ascending; those of swapped models are these with the other sign."""
    other = turned(counts)
    if counts.tolist() > other.tolist():
        return np.asarray(-draws(other)[::-1])
    generator = np.random.default_rng(0)
    n_draws = int(np.clip(_MAX_DRAWN // (3 * len(counts)), 1_000, N_DRAWS))
    total = np.zeros(n_draws)
    for shapes in _shapes(counts):
        drawn = generator.standard_gamma(shapes, size=(n_draws, 3))
        total += (drawn[:, 1] - drawn[:, 0]) / drawn.sum(axis=1)
    drawn_differences = np.sort(total / len(counts))
    if np.array_equal(counts, other):  # nothing tells the models apart, and no draw may
        return np.asarray((drawn_differences - drawn_differences[::-1]) / 2)
    return np.asarray(drawn_differences)


def lower_tail(counts: Counts, value: float) -> float:
    """Probability that the difference is at most `value`, for tails that draws do not resolve.

    Each class's difference is a ratio of gamma variables, linear in them to first order, so that their sum is
    one of gamma variables; its tail is the saddlepoint one of Lugannani and Rice 1980. With one class the
    event is linear already.
    """
    shapes = _shapes(counts)
    if len(counts) == 1:
        weights, target = np.array([[-1.0 - value, 1.0 - value, -value]]), 0.0
    else:
        sizes = shapes.sum(axis=1, keepdims=True)
        mean = (shapes[:, [1]] - shapes[:, [0]]) / sizes
        weights = (np.array([[-1.0, 1.0, 0.0]]) - mean) / (sizes * len(counts))
        target = value - float(mean.mean())
    return _gamma_sum_tail(shapes.ravel(), weights.ravel(), target)


def _gamma_sum_tail(shapes: Floats, weights: Floats, target: float) -> float:
    """Probability that a weighted sum of independent gamma variables is at most `target`."""
    used = weights != 0
    shapes, weights = shapes[used], weights[used]
    if weights.min() >= 0:
        return 0.0 if target <= 0 else 1.0

    def slope(t: float) -> float:
        return float((shapes * weights / (1 - weights * t)).sum()) - target

    if slope(0.0) <= 0:  # the target is above the mean: no lower tail
        return 0.5
    least = 1.0 / float(weights.min())
    t = brentq(slope, least * (1 - 1e-12), 0.0)
    cumulant = -float((shapes * np.log1p(-weights * t)).sum())
    curvature = float((shapes * (weights / (1 - weights * t)) ** 2).sum())
    r, v = -np.sqrt(max(2 * (t * target - cumulant), 0.0)), t * np.sqrt(curvature)
    if r > -1e-3:
        return 0.5
    density = np.exp(-(r**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.clip(ndtr(r) + density * (1 / r - 1 / v), 0.0, 0.5))


def variance_per_row(counts: Counts, difference: float) -> float:
    """Variance of the difference times the number of rows, were the difference this one.

    As often as now the models differ, and at least as often as this difference needs.
    """
    shapes = _shapes(counts)
    often = (shapes[:, 0] + shapes[:, 1]) / shapes.sum(axis=1)
    often = np.maximum(often, abs(difference))
    of_classes = counts[:, 0] / counts[:, 0].sum()
    return float(((often - difference**2) / of_classes).sum() / len(counts) ** 2)
