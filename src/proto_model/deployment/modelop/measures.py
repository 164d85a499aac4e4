"""How good a model is on rows, as ModelOp's metrics functions say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.model import Bundle
from proto_model.statistics.measures import CLASS_METRIC_NAMES, METRIC_NAMES, Answers, measure

MAX_POINTS = 200
"""Points of a ROC curve at most; those between lie on nearly straight lines."""


def measures(bundle: Bundle, y: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Metrics of rows whose classes are known by position: a training run's, and ModelOp's forms of them.

    A metric that the rows do not define is null.
    """
    labels = [str(label) for label in bundle.schema.classes]
    answers = Answers(bundle.decide(probabilities), probabilities)
    n_classes = len(labels)
    flat = {name: _value(name, y, answers, n_classes, None) for name in METRIC_NAMES}
    by_class = {
        label: {name: _value(name, y, answers, n_classes, index) for name in CLASS_METRIC_NAMES}
        | {"rows": int((y == index).sum())}
        for index, label in enumerate(labels)
    }
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (y, answers.predicted), 1)
    matrix = [dict(zip(labels, row, strict=True)) for row in counts.tolist()]
    found: dict[str, Any] = {
        "performance": [
            {
                "test_name": "Classification Metrics",
                "test_category": "performance",
                "test_type": "classification_metrics",
                "test_id": "performance_classification_metrics",
                "values": flat | {"confusion_matrix": matrix, "classes": by_class},
            }
        ],
        **flat,
        "auc": flat["roc_auc"],
        "f2_score": by_class[labels[1]]["f2"] if n_classes == 2 else flat["f2_macro"],
        "confusion_matrix": matrix,
    }
    if n_classes == 2:
        found["roc_curve"] = _roc_curve(y == 1, probabilities[:, 1])
    return found


def _value(
    name: str, y: NDArray[np.int64], answers: Answers, n_classes: int, index: int | None
) -> float | None:
    found = measure(name, y, answers, n_classes, index)
    return None if found is None else found.value


def _roc_curve(is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> list[dict[str, float]]:
    """Shares of false and of true positives, from the highest threshold to the lowest; empty without both."""
    if is_class.all() or not is_class.any():
        return []
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    inside = is_class[order]
    tpr = np.append(0.0, np.cumsum(inside)[last] / inside.sum())
    fpr = np.append(0.0, np.cumsum(~inside)[last] / (~inside).sum())
    chosen = np.unique(np.linspace(0, len(tpr) - 1, min(MAX_POINTS, len(tpr))).astype(np.int64))
    return [{"fpr": x, "tpr": z} for x, z in zip(fpr[chosen].tolist(), tpr[chosen].tolist(), strict=True)]
