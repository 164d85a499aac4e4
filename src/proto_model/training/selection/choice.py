"""Which of several candidates to take: the smallest of those that cannot be told from the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_METRIC = "log_loss"

_MOST_BEHIND = 0.05  # of the least loss: a log loss with a certainty that was wrong has a huge standard error


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how far each candidate is behind the best one."""

    index: int
    best: int  # the one with the least mean loss
    behind: NDArray[np.float64]  # mean loss of each candidate, less that of the best
    ties: NDArray[np.bool_]  # whether it cannot be told from the best


def choose(losses: NDArray[np.float64], weights: NDArray[np.float64], sizes: NDArray[np.float64]) -> Choice:
    """Smallest candidate whose loss is within one standard error of the least, and the first of equal ones.

    `losses` has a row per candidate and a column per fold; `weights` are the rows that each fold judges. All
    candidates are judged by the same rows, so it is the error of their difference over the folds that
    counts: it is far smaller than that of each loss, of which all share most. A difference of more than 5 %
    is never a tie. Folds in which a loss is not defined (NaN) are left out; a ValueError says that none is
    left.

    Examples
    --------
    >>> losses = np.array([[0.30, 0.50], [0.31, 0.52], [0.33, 0.51]])
    >>> choose(losses, np.ones(2), np.array([90.0, 50.0, 20.0])).index
    0
    >>> choose(losses[:, ::-1] * [1, 0.99], np.ones(2), np.array([90.0, 50.0, 20.0])).ties.tolist()
    [True, False, False]
    """
    defined = np.isfinite(losses).all(axis=0)
    if not defined.any():
        raise ValueError("The metric is not defined in any fold.")
    means = mean(losses, weights)
    best = int(np.argmin(means))
    behind, errors = difference(losses, losses[best], weights)
    ties = behind <= np.minimum(errors, _MOST_BEHIND * abs(means[best]))
    tied = np.flatnonzero(ties)
    return Choice(int(tied[np.argmin(sizes[tied])]), best, behind, ties)


def mean(losses: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the folds in which all losses are defined, each with its weight; NaN if there is none."""
    defined = np.isfinite(losses).all(axis=tuple(range(losses.ndim - 1)))
    if not defined.any():
        return np.full(losses.shape[:-1], np.nan)
    return np.asarray(np.average(losses[..., defined], axis=-1, weights=weights[defined]))


def difference(
    losses: NDArray[np.float64], others: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of paired differences over the folds, and its standard error; 0 for a single fold."""
    pairs = losses - others
    defined = np.isfinite(pairs).all(axis=tuple(range(pairs.ndim - 1)))
    pairs = pairs[..., defined]
    shares = weights[defined] / weights[defined].sum()
    means = np.asarray((pairs * shares).sum(axis=-1))
    spread = ((shares * (pairs - means[..., np.newaxis])) ** 2).sum(axis=-1)
    left = 1 - (shares**2).sum()  # of equal weights (k - 1) / k: the usual standard error
    return means, np.sqrt(spread / left) if len(shares) > 1 else np.zeros_like(means)
