"""Two models' predictions for the same rows, side by side: pure functions of labels and predictions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from proto_model.errors import ProtoModelError
from proto_model.registry.promotion.statistics import (
    PairedCounts,
    bootstrap_differences,
    count_pairs,
    interval,
    mcnemar_p_value,
)
from proto_model.schema import Label

__all__ = ["Comparison", "ComparisonError", "class_indices", "compare", "score"]


class ComparisonError(ProtoModelError):
    """Two model versions cannot be compared with each other."""


@dataclass(frozen=True)
class Comparison:
    """How champion and challenger did on the same rows.

    Parameters
    ----------
    champion_score, challenger_score : float
        Balanced accuracy.
    difference : float
        The challenger's minus the champion's.
    interval : tuple of float
        Bootstrap confidence interval of the difference.
    confidence, n_resamples, random_state : float, int, int
        Of the bootstrap.
    mcnemar_p_value : float
        Exact, two-sided.
    counts : PairedCounts
        Per class; "first" is the champion, "second" the challenger.
    differences : ndarray of shape (n_resamples,)
        The bootstrapped differences, for the plot.
    """

    champion_score: float
    challenger_score: float
    difference: float
    interval: tuple[float, float]
    confidence: float
    n_resamples: int
    random_state: int
    mcnemar_p_value: float
    counts: PairedCounts
    differences: NDArray[np.float64]


def class_indices(labels: Sequence[Label], classes: Sequence[Label]) -> NDArray[np.int64]:
    """Position of each label among the classes, -1 for a label that is none of them.

    Examples
    --------
    >>> class_indices(["red", "blue", "green"], ["blue", "red"])
    array([ 1,  0, -1])
    """
    index = {label: position for position, label in enumerate(classes)}
    return np.array([index.get(label, -1) for label in labels], dtype=np.int64)


def score(y: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:
    """Balanced accuracy; a predicted class without rows counts as wrong and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true", UserWarning)
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater than", UserWarning)
        return float(balanced_accuracy_score(y, y_pred))


def compare(
    y: NDArray[np.int64],
    y_champion: NDArray[np.int64],
    y_challenger: NDArray[np.int64],
    n_classes: int,
    *,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    random_state: int = 0,
) -> Comparison:
    """Scores of both models on the same rows, their difference and how sure it is.

    Parameters
    ----------
    y, y_champion, y_challenger : ndarray of shape (n_samples,)
        True and predicted classes, as indices below `n_classes`; -1 is a prediction that is no class.
    n_classes : int
        Number of classes.
    confidence : float
        Of the interval.
    n_resamples, random_state : int
        Of the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    ComparisonError
        If there is no row.
    """
    if len(y) == 0:
        raise ComparisonError("There is no row to compare the versions on.")
    counts = count_pairs(y, y_champion, y_challenger, n_classes)
    champion_score, challenger_score = score(y, y_champion), score(y, y_challenger)
    differences = bootstrap_differences(counts, n_resamples, random_state)
    return Comparison(
        champion_score=champion_score,
        challenger_score=challenger_score,
        # Equal scores may differ by the order of additions; that is no difference.
        difference=round(challenger_score - champion_score, 12) + 0.0,
        interval=interval(differences, confidence),
        confidence=confidence,
        n_resamples=n_resamples,
        random_state=random_state,
        mcnemar_p_value=mcnemar_p_value(int(counts.first_only.sum()), int(counts.second_only.sum())),
        counts=counts,
        differences=differences,
    )
