"""How much better one of two models is on the same rows, and how sure that is.

Of metrics that only ask whether a prediction is right (accuracy, recall of a class, balanced accuracy) the
rows enter as counts: of each class, how many only the first or only the second model predicted right. They
cost the same for a thousand rows as for a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 10_000


@dataclass(frozen=True)
class Answers:
    """What one model said of the rows.

    `predicted` has class indices, shape (n_rows,), -1 for what is no class; `probabilities` the shape
    (n_rows, n_classes), None if the model gave none (metrics that need them are then refused).
    """

    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Evidence:
    """What the rows say of the difference between two models in one metric.

    Above zero the second model is better, also where a lower metric is better: its sign is turned then.
    `draws` are the differences that agree with the rows, ascending, each as probable as any other: interval
    and probabilities are shares of them, so they never contradict each other.
    """

    metric: str
    difference: float
    draws: NDArray[np.float64]
    confidence: float

    @property
    def low(self) -> float:
        """Lower end of the two-sided interval at `confidence`."""
        raise NotImplementedError

    @property
    def high(self) -> float:
        """Upper end of the two-sided interval at `confidence`."""
        raise NotImplementedError

    @property
    def p_better(self) -> float:
        """Probability that the second model is better; one half of it for draws without a difference."""
        raise NotImplementedError

    def p_worse_than(self, margin: float) -> float:
        """Probability that the second model is worse by more than `margin` (0 or more)."""
        raise NotImplementedError

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Ends of the two-sided interval at another confidence."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """JSON object: metric, difference, low, high, confidence, p_better."""
        raise NotImplementedError


def balanced_accuracy_difference(
    n_rows: NDArray[np.int64],
    first_only: NDArray[np.int64],
    second_only: NDArray[np.int64],
    confidence: float = 0.95,
) -> Evidence:
    """Evidence on the difference of balanced accuracies, from counts of each class, shape (n_classes,).

    Rows, and those that only the first or only the second model predicted right. Classes without rows are
    left out, as in balanced accuracy itself. A ValueError says that no class has rows, or that the counts
    contradict each other.
    """
    raise NotImplementedError


def paired_difference(
    metric: str,
    y: NDArray[np.int64],
    first: Answers,
    second: Answers,
    n_classes: int,
    *,
    class_index: int | None = None,
    confidence: float = 0.95,
) -> Evidence:
    """Evidence on the difference in any metric, `second` against `first`, on the same rows.

    `metric` is a name of `METRIC_NAMES` (without `class_index`) or of `CLASS_METRIC_NAMES` (with it). A
    ValueError says that there is no such metric, or that the rows do not define it (no row of the class, no
    probabilities).
    """
    raise NotImplementedError
