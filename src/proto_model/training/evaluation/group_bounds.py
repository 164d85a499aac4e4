"""Intervals in the table of groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics import group_intervals
from proto_model.training.evaluation.metric_texts import ENDS

CONFIDENCE = 0.95
"""Of all intervals on card and board."""


def group_bounds(y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> dict[str, float]:
    """Ends of the intervals of a group's metrics; NaN where the metric is not defined."""
    names = ["accuracy", "balanced_accuracy"]
    if n_classes == 2:
        names += ["predicted_positive", "true_positive_rate", "false_positive_rate"]
    bounds = {name + end: float("nan") for name in names for end in ENDS}
    for name, interval in group_intervals(y, predicted, n_classes, CONFIDENCE).items():
        bounds[name + "_low"], bounds[name + "_high"] = interval.low, interval.high
    return bounds
