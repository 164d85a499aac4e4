"""How candidates are scored on the rows that a fold judges: by any metric, as a loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from proto_model.training.metrics import METRICS, Metric, Predictions

BY_NAME = {metric.name: metric for metric in METRICS}

_LEAST = np.finfo(np.float64).eps  # where scikit-learn clips probabilities, too

_Score = Callable[[NDArray[np.int64], NDArray[np.float64]], float]


def metric_called(name: str) -> Metric:
    """Metric of that name; a ValueError names those there are."""
    if name not in BY_NAME:
        raise ValueError(f"metric {name!r} given, one of {', '.join(BY_NAME)} expected.")
    return BY_NAME[name]


def score(name: str, y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """A metric of probabilities for rows whose class indices are known; NaN where it is not defined."""
    if name in _QUICK:
        return _QUICK[name](y, probabilities)
    return float(BY_NAME[name].function(Predictions(y, probabilities)))


def scores(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Every metric of probabilities for rows whose class indices are known; NaN where it is not defined."""
    predictions = Predictions(y, probabilities)
    return {metric.name: float(metric.function(predictions)) for metric in METRICS}


def loss(name: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a metric turned so that less is better."""
    return value if BY_NAME[name].lower_is_better else -value


def with_one_more_vote(
    probabilities: NDArray[np.float64], n_trees: int, frequencies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities of a part of a forest, as if one more tree had answered with the classes' frequencies.

    Fifty trees say 0 of many a class that one of the next hundred would vote for. Without this, the log loss
    of a part is that of its zeros and says little about the whole.
    """
    return (probabilities * n_trees + frequencies) / (n_trees + 1)


def _balanced_accuracy(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean recall of the classes that have rows."""
    n_rows = np.bincount(y)
    n_right = np.bincount(y[y == probabilities.argmax(axis=1)], minlength=len(n_rows))
    return float((n_right[n_rows > 0] / n_rows[n_rows > 0]).mean())


def _accuracy(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    return float((y == probabilities.argmax(axis=1)).mean())


def _log_loss(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    of_truth = probabilities[np.arange(len(y)), y]
    return float(-np.log(np.clip(of_truth, _LEAST, 1 - _LEAST)).mean())


def _brier(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        return float(((probabilities[:, 1] - y) ** 2).mean())
    return float(((probabilities - np.eye(n_classes)[y]) ** 2).sum(axis=1).mean())


# A search scores some 200 folds; for these metrics scikit-learn takes 10 times as long as NumPy, which is a
# fiftieth of a whole training. A test compares them.
_QUICK: dict[str, _Score] = {
    "balanced_accuracy": _balanced_accuracy,
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "brier": _brier,
}

QUICK = tuple(_QUICK)
"""Metrics that every candidate gets, besides the one that chooses."""
