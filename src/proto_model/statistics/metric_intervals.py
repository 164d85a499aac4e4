"""Intervals of everything that is shown of a model on test rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics.interval import Interval
from proto_model.statistics.measures import Answers


def metric_intervals(
    y: NDArray[np.int64], answers: Answers, n_classes: int, confidence: float = 0.95
) -> dict[str, Interval]:
    """Interval of each metric that the rows define, by its name; those of a class as `recall/<index>`.

    Estimates are those of scikit-learn. `y` has class indices, shape (n_rows,).
    """
    raise NotImplementedError


def metric_interval(
    metric: str,
    y: NDArray[np.int64],
    answers: Answers,
    n_classes: int,
    *,
    class_index: int | None = None,
    confidence: float = 0.95,
) -> Interval | None:
    """Interval of one metric; None where the rows do not define it. A ValueError: there is no such metric."""
    raise NotImplementedError


def group_intervals(
    y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, confidence: float = 0.95
) -> Mapping[str, Interval]:
    """Intervals of what a table of groups shows of one group.

    `accuracy` and `balanced_accuracy`; of two classes also `predicted_positive`, `true_positive_rate` and
    `false_positive_rate`.
    """
    raise NotImplementedError
