"""Intervals of everything that is shown of a model on test rows.

Shares of rows have exact intervals, and means of shares melded ones (`shares`). The others start from the
contributions of the rows (`measures`): between 0 and 1, a metric is treated as a share of as many rows as its
variance says, but no more than a perfect metric could show; losses have a skewed distribution of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from proto_model.statistics.interval import Interval
from proto_model.statistics.measures import (
    CLASS_METRIC_NAMES,
    METRIC_NAMES,
    NEED_PROBABILITIES,
    Answers,
    check_metric,
    losses,
    measure,
)
from proto_model.statistics.shares import f1_interval, mean_of_shares, share_interval
from proto_model.statistics.skewed import lean, spread

_RANKS = ("roc_auc", "average_precision")
_MOST_LOG_LOSS = -float(np.log(np.finfo(np.float64).eps))


def metric_intervals(
    y: NDArray[np.int64], answers: Answers, n_classes: int, confidence: float = 0.95
) -> dict[str, Interval]:
    """Interval of each metric that the rows define, by its name; those of a class as `recall/<index>`.

    Estimates are those of scikit-learn. `y` has class indices, shape (n_rows,).
    """
    asked: list[tuple[str, str, int | None]] = [(name, name, None) for name in METRIC_NAMES]
    asked += [(f"{name}/{index}", name, index) for name in CLASS_METRIC_NAMES for index in range(n_classes)]
    found = {}
    for key, name, index in asked:
        if answers.probabilities is None and name in NEED_PROBABILITIES:
            continue
        interval = metric_interval(name, y, answers, n_classes, class_index=index, confidence=confidence)
        if interval is not None:
            found[key] = interval
    return found


def metric_interval(
    metric: str,
    y: NDArray[np.int64],
    answers: Answers,
    n_classes: int,
    *,
    class_index: int | None = None,
    confidence: float = 0.95,
) -> Interval | None:
    """Interval of one metric; None where the rows do not define it. A ValueError: there is no such metric.

    Examples
    --------
    >>> y = np.repeat([0, 1], [40, 23])
    >>> print(metric_interval("balanced_accuracy", y, Answers(y), 2).shown())
    1.000 (0.934 to 1.000)
    """
    check_metric(metric, class_index, answers)
    if len(y) == 0 or (class_index is not None and not (y == class_index).any()):
        return None
    if metric in ("log_loss", "brier"):
        return _loss_interval(metric, y, answers, confidence)
    if metric in (*_RANKS, "f1_macro", "f2_macro", "f2"):
        return _effective_share(metric, y, answers, n_classes, class_index, confidence)
    right = answers.predicted == y
    if class_index is None:
        if metric == "accuracy":
            return share_interval(int(right.sum()), len(y), confidence)
        present = np.unique(y)
        of_class = answers.predicted if metric == "precision_macro" else y
        inside = np.isin(of_class, present)
        rows = np.bincount(of_class[inside], minlength=n_classes)[present]
        hits = np.bincount(y[right], minlength=n_classes)[present]
        return mean_of_shares(hits, rows, confidence)
    return _class_interval(metric, y == class_index, answers.predicted == class_index, confidence)


def group_intervals(
    y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, confidence: float = 0.95
) -> Mapping[str, Interval]:
    """Intervals of what a table of groups shows of one group.

    `accuracy` and `balanced_accuracy`; of two classes also `predicted_positive`, `true_positive_rate` and
    `false_positive_rate`. What the rows do not define is left out.
    """
    answers = Answers(predicted)
    names = ("accuracy", "balanced_accuracy")
    found = {name: metric_interval(name, y, answers, n_classes, confidence=confidence) for name in names}
    if n_classes == 2:
        positive, told = y == 1, predicted == 1
        asked = {
            "predicted_positive": told,
            "true_positive_rate": told[positive],
            "false_positive_rate": told[~positive],
        }
        for name, flags in asked.items():
            found[name] = share_interval(int(flags.sum()), len(flags), confidence) if len(flags) else None
    return {name: interval for name, interval in found.items() if interval is not None}


def _class_interval(
    metric: str, is_class: NDArray[np.bool_], said: NDArray[np.bool_], confidence: float
) -> Interval:
    """Interval of precision, recall or F1 of one class."""
    found, missed = int((is_class & said).sum()), int((is_class & ~said).sum())
    alarms = int((said & ~is_class).sum())
    if metric == "recall":
        return share_interval(found, found + missed, confidence)
    if metric == "precision":
        return share_interval(found, found + alarms, confidence)
    return f1_interval(found, missed, alarms, confidence)


def _effective_share(
    metric: str,
    y: NDArray[np.int64],
    answers: Answers,
    n_classes: int,
    class_index: int | None,
    confidence: float,
) -> Interval | None:
    """Interval of a metric between 0 and 1 as that of a share with the same variance."""
    found = measure(metric, y, answers, n_classes, class_index)
    if found is None:
        return None
    value = float(np.clip(found.value, 0.0, 1.0))
    variance, _, freedom = spread(found.contributions, y)
    most = _most_rows(metric, y, n_classes, class_index)
    n_rows = most
    if variance > 0 and 0 < value < 1:
        level = (1 + confidence) / 2
        # A variance that is itself estimated: Student's quantile instead of the normal one.
        wider = (float(stdtrit(max(freedom, 1.0), level)) / float(ndtri(level))) ** 2
        n_rows = min(value * (1 - value) / variance / wider, most)
    interval = share_interval(value * n_rows, n_rows, confidence)
    return Interval(value, min(interval.low, value), max(interval.high, value), confidence)


def _most_rows(metric: str, y: NDArray[np.int64], n_classes: int, class_index: int | None) -> float:
    """Rows that a metric can be worth: of a ranking, twice those of the rarer side at most."""
    n_rows = np.bincount(y, minlength=n_classes).astype(np.float64)
    if metric in _RANKS:
        rest = len(y) - n_rows
        n_rows = 4 * n_rows * rest / len(y) if metric == "roc_auc" else 2 * n_rows
    if class_index is not None or (metric in _RANKS and n_classes == 2):
        return float(n_rows[1 if class_index is None else class_index])
    n_rows = n_rows[n_rows > 0]
    return float(len(n_rows) ** 2 / (1 / n_rows).sum())


def _loss_interval(metric: str, y: NDArray[np.int64], answers: Answers, confidence: float) -> Interval:
    """Interval of a mean loss, with one pseudo-row for its upper end: a row like these of another class."""
    of_rows = losses(metric, y, answers)
    value, n = float(of_rows.mean()), len(y)
    strata = np.zeros(n, dtype=np.int64)
    variance, skewness, freedom = spread(of_rows - value, strata)
    level = (1 + confidence) / 2
    base = float(stdtrit(max(freedom, 1.0), level))
    bounds = value + np.sqrt(variance) * lean(np.array([-base, base]), skewness)
    assert answers.probabilities is not None
    other = _other_losses(metric, answers.probabilities, y) - value
    # The pseudo-row's weight is exponential with mean 1 / n, so its square counts twice.
    unseen = max(float(other.mean()), 0.0) / n
    unseen_spread = float((2 * other**2).mean()) / n**2
    high = value + unseen + np.sqrt((bounds[1] - value) ** 2 + base**2 * max(unseen_spread - unseen**2, 0.0))
    most = {"brier": 1.0 if answers.probabilities.shape[1] == 2 else 2.0}.get(metric, _MOST_LOG_LOSS)
    low = float(np.clip(bounds[0], 0.0, value)) if n > 1 else 0.0
    return Interval(value, low, float(np.clip(high, value, most)), confidence)


def _other_losses(
    metric: str, probabilities: NDArray[np.float64], y: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Loss of each row, were its class the most probable one of the others."""
    without = probabilities.copy()
    np.put_along_axis(without, y[:, np.newaxis], -1.0, axis=1)
    return losses(metric, without.argmax(axis=1), Answers(y, probabilities))
