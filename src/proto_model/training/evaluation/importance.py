"""Permutation importance: how much surer of the truth the predictions are for knowing a feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["permutation_importance"]


def permutation_importance(
    predict_proba: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    matrix: NDArray[np.float64],
    y: NDArray[np.int64],
    feature_names: Sequence[str],
    *,
    random_state: int,
    n_repeats: int = 5,
    max_rows: int = 2000,
) -> pd.DataFrame:
    """Probability that true classes lose when the values of one feature are dealt out to the rows anew [1]_.

    Probability rather than accuracy, because a forest that is nearly always right has to spare: most features
    change no prediction, but each shifts votes. Classes weigh alike, however rare. The cost is bounded: one
    call of `predict_proba` per feature, with at most `n_repeats * max_rows` rows.

    Parameters
    ----------
    predict_proba : callable
        Probabilities of the classes for rows coded as numbers.
    matrix : ndarray of shape (n_samples, n_features)
        Held-out rows, coded as numbers.
    y : ndarray of shape (n_samples,)
        Class of each row as an index.
    feature_names : sequence of length n_features
        In the order of the columns.
    random_state : int
        Seed of the shuffles and of the sample that is taken when there are more than `max_rows` rows.
    n_repeats : int
        Shuffles per feature.
    max_rows : int
        Rows that are used at most.

    Returns
    -------
    DataFrame
        `feature`, `importance` (mean loss) and `std` (over the shuffles), the most important first.

    References
    ----------
    .. [1] L. Breiman, "Random Forests", Machine Learning 45, 2001. https://doi.org/10.1023/A:1010933404324
    """
    generator = np.random.default_rng(random_state)
    if len(matrix) > max_rows:
        chosen = np.sort(generator.choice(len(matrix), size=max_rows, replace=False))
        matrix, y = matrix[chosen], y[chosen]
    n_rows = len(matrix)
    present, truth = np.unique(y), y[np.newaxis, :, np.newaxis]

    def trust(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean probability of the true class, per repeat."""
        probabilities = predict_proba(rows).reshape(len(rows) // n_rows, n_rows, -1)
        of_truth = np.take_along_axis(probabilities, truth, axis=2)[..., 0]
        return np.asarray(np.mean([of_truth[:, y == index].mean(axis=1) for index in present], axis=0))

    baseline = trust(matrix)
    losses = np.empty((len(feature_names), n_repeats))
    for feature in range(len(feature_names)):
        shuffled = np.tile(matrix, (n_repeats, 1))
        for repeat in range(n_repeats):
            rows = slice(repeat * n_rows, (repeat + 1) * n_rows)
            shuffled[rows, feature] = generator.permutation(matrix[:, feature])
        losses[feature] = baseline - trust(shuffled)

    table = pd.DataFrame(
        {"feature": list(feature_names), "importance": losses.mean(axis=1), "std": losses.std(axis=1)}
    )
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
