"""Figures that say how good predictions on held-out rows are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    fbeta_score,
    log_loss,
    roc_auc_score,
)

from proto_model.training.evaluation.names import metric_suffixes

__all__ = ["classification_metrics"]


def classification_metrics(
    y: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[object]
) -> dict[str, float]:
    """Metrics of a classifier's probabilities on rows whose classes are known, the most telling first.

    The predicted class is the most probable one. Averages over classes (`balanced_accuracy`, those ending in
    `_macro`) leave out classes that have no row here. With two classes, `roc_auc`, `average_precision` and
    `brier` are about the second one; with more, the first two are means over each class against the rest, and
    `brier` is the sum over the classes. A figure that is not defined for these rows is left out, so that
    every value is finite.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Class of each row as its index in `labels`.
    probabilities : ndarray of shape (n_samples, n_classes)
        Probability of each class; rows sum to 1.
    labels : sequence of length n_classes
        Class labels; per-class metrics are called `<metric>/<label>`, the label made fit for a metric name.

    Returns
    -------
    dict
        Metric name to value.

    Raises
    ------
    ValueError
        If there are no rows or the shapes do not fit each other.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> metrics = classification_metrics(np.array([0, 0, 1]), probabilities, ["a", "b"])
    >>> metrics["balanced_accuracy"], metrics["recall/a"], metrics["roc_auc"]
    (0.75, 0.5, 1.0)
    """
    n_classes = len(labels)
    if len(y) == 0 or probabilities.shape != (len(y), n_classes):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} given for {len(y)} rows, "
            f"({len(y)}, {n_classes}) expected, with at least one row."
        )
    predicted = probabilities.argmax(axis=1)
    counts = confusion_matrix(y, predicted, labels=range(n_classes))
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    present = support > 0

    with np.errstate(invalid="ignore"):
        per_class = {"precision": hits / claimed, "recall": hits / support}
    per_class["precision"] = np.where(claimed > 0, per_class["precision"], 0.0)
    for name, beta in (("f1", 1.0), ("f2", 2.0)):
        per_class[name] = fbeta_score(
            y, predicted, beta=beta, labels=range(n_classes), average=None, zero_division=0.0
        )
    per_class["roc_auc"], per_class["average_precision"] = _one_against_rest(y, probabilities, present)

    metrics = {"balanced_accuracy": per_class["recall"][present].mean(), "accuracy": hits.sum() / len(y)}
    for name in ("precision", "recall", "f1", "f2"):
        metrics[f"{name}_macro"] = per_class[name][present].mean()
    ranked = np.array([False, True]) & present if n_classes == 2 else present
    for name in ("roc_auc", "average_precision"):
        defined = per_class[name][ranked]
        defined = defined[np.isfinite(defined)]
        metrics[name] = defined.mean() if len(defined) else np.nan
    if n_classes > 1:
        metrics["log_loss"] = log_loss(y, probabilities, labels=range(n_classes))
        metrics["brier"] = _brier(y, probabilities)
    for name, values in per_class.items():
        for suffix, value, is_present in zip(metric_suffixes(labels), values, present, strict=True):
            metrics[f"{name}/{suffix}"] = value if is_present else np.nan
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def _one_against_rest(
    y: NDArray[np.int64], probabilities: NDArray[np.float64], present: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area under the ROC curve and average precision of each class; NaN where not defined."""
    roc_auc = np.full(len(present), np.nan)
    precision = np.full(len(present), np.nan)
    for index in np.flatnonzero(present):
        is_class = y == index
        precision[index] = average_precision_score(is_class, probabilities[:, index])
        if not is_class.all():
            roc_auc[index] = roc_auc_score(is_class, probabilities[:, index])
    return roc_auc, precision


def _brier(y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        return float(brier_score_loss(y, probabilities[:, 1], labels=[0, 1]))
    return float(brier_score_loss(y, probabilities, labels=range(n_classes)))
