"""How much better one of two models is on the same rows, and how sure that is.

Of metrics that only ask whether a prediction is right (accuracy, recall of a class, balanced accuracy) the
rows enter as counts: of each class, how many only the first or only the second model predicted right. They
cost the same for a thousand rows as for a million.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics import pair_counts
from proto_model.statistics.measures import (
    LOWER_IS_BETTER,
    NEED_PROBABILITIES,
    Answers,
    check_metric,
    measure,
)
from proto_model.statistics.pair_counts import Counts, Floats
from proto_model.statistics.skewed import pseudo_rows, skewed_draws
from proto_model.statistics.unseen import with_unseen

_TAIL = 0.01
_RIGHT_OR_WRONG = ("accuracy", "balanced_accuracy", "recall_macro", "recall")


@dataclass(frozen=True)
class Evidence:
    """What the rows say of the difference between two models in one metric.

    Above zero the second model is better, also where a lower metric is better: its sign is turned then.
    `draws` are the differences that agree with the rows, ascending, each as probable as any other: interval
    and probabilities are shares of them, so they never contradict each other. Where `counts` of rows decide,
    probabilities below 1 % come from these, because draws do not resolve them.
    """

    metric: str
    difference: float
    draws: Floats
    confidence: float = 0.95
    counts: Counts | None = None

    @property
    def low(self) -> float:
        """Lower end of the two-sided interval at `confidence`."""
        return self.bounds(self.confidence)[0]

    @property
    def high(self) -> float:
        """Upper end of the two-sided interval at `confidence`."""
        return self.bounds(self.confidence)[1]

    @property
    def p_better(self) -> float:
        """Probability that the second model is better."""
        return self.p_better_than(0.0)

    def p_better_than(self, improvement: float) -> float:
        """Probability that the second model is better by more than `improvement`."""
        return 1.0 - self._share_up_to(improvement)

    def p_worse_than(self, margin: float) -> float:
        """Probability that the second model is worse by more than `margin` (0 or more)."""
        return self._share_up_to(-margin)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Ends of the two-sided interval at another confidence; the difference is always between them."""
        low, high = np.quantile(self.draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        return min(float(low), self.difference), max(float(high), self.difference)

    def to_dict(self) -> dict[str, Any]:
        """JSON object: metric, difference, low, high, confidence, p_better."""
        names = ("metric", "difference", "low", "high", "confidence", "p_better")
        return {name: getattr(self, name) for name in names}

    def _share_up_to(self, value: float) -> float:
        """Share of the draws below a value; those equal to it count half."""
        below = np.searchsorted(self.draws, value, side="left")
        share = float(below + np.searchsorted(self.draws, value, side="right")) / (2 * len(self.draws))
        if self.counts is not None and share < _TAIL:
            return pair_counts.lower_tail(self.counts, value)
        if self.counts is not None and share > 1 - _TAIL:
            return 1.0 - pair_counts.lower_tail(pair_counts.turned(self.counts), -value)
        return share


def balanced_accuracy_difference(
    n_rows: Counts,
    first_only: Counts,
    second_only: Counts,
    confidence: float = 0.95,
) -> Evidence:
    """Evidence on the difference of balanced accuracies, from counts of each class, shape (n_classes,).

    Rows, and those that only the first or only the second model predicted right. Classes without rows are
    left out, as in balanced accuracy itself. A ValueError says that no class has rows, or that the counts
    contradict each other.

    `pair_counts` has the distribution.

    Examples
    --------
    >>> evidence = balanced_accuracy_difference(np.array([50, 50]), np.array([0, 1]), np.array([4, 5]))
    >>> round(evidence.difference, 2), evidence.p_better > 0.97
    (0.08, True)
    """
    counts = pair_counts.checked(n_rows, first_only, second_only)
    difference = round(float(((counts[:, 2] - counts[:, 1]) / counts[:, 0]).mean()), 12) + 0.0
    return Evidence("balanced_accuracy", difference, pair_counts.draws(counts), confidence, counts)


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
    for answers in (first, second):
        check_metric(metric, class_index, answers)
    ours, theirs = (measure(metric, y, answers, n_classes, class_index) for answers in (second, first))
    if ours is None or theirs is None:
        raise ValueError(f"{metric} is not defined for these rows.")
    if metric in _RIGHT_OR_WRONG:
        strata = np.zeros_like(y) if metric == "accuracy" else y
        chosen = np.ones(len(y), dtype=np.bool_) if class_index is None else y == class_index
        counts = _pair_counts(y[chosen], strata[chosen], first.predicted[chosen], second.predicted[chosen])
        found = balanced_accuracy_difference(*counts, confidence)
        return replace(found, metric=metric)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    difference = sign * round(ours.value - theirs.value, 12) + 0.0
    contributions = sign * (ours.contributions - theirs.contributions)
    by_probability = metric in NEED_PROBABILITIES
    extra = 0.0
    if not by_probability:
        extra = sum(pseudo_rows(metric, y, of.predicted, n_classes, class_index) for of in (first, second))
    draws = skewed_draws(difference, contributions, y, extra, pair_counts.N_DRAWS)
    if by_probability:
        draws = with_unseen(draws, metric, y, (first, second), n_classes, class_index)
    if metric not in LOWER_IS_BETTER:
        draws = draws.clip(-1.0, 1.0)  # two shares cannot be further apart
    return Evidence(metric, difference, draws, confidence)


def _pair_counts(
    y: NDArray[np.int64], strata: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[Counts, Counts, Counts]:
    """Rows of each stratum, and how many of them only the first or only the second model predicted right."""
    only_first, only_second = (first == y) & (second != y), (second == y) & (first != y)
    length = int(strata.max()) + 1
    parts = (strata, strata[only_first], strata[only_second])
    n_rows, first_only, second_only = (np.bincount(part, minlength=length) for part in parts)
    return n_rows, first_only, second_only
