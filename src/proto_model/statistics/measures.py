"""Metrics of a model's answers, and what each row contributes to them.

The contribution of a row is the metric's derivative by the weight of that row (the infinitesimal jackknife;
of the ROC area, DeLong's). Its variance over the rows is what every interval here starts from, and the
difference of two models' contributions what their comparison does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METRIC_NAMES = (
    "balanced_accuracy", "accuracy", "precision_macro", "recall_macro", "f1_macro", "f2_macro", "roc_auc",
    "average_precision", "log_loss", "brier",
)  # fmt: skip
"""Metrics of all rows."""

CLASS_METRIC_NAMES = ("precision", "recall", "f1", "f2", "roc_auc", "average_precision")
"""Metrics of one class."""

LOWER_IS_BETTER = ("log_loss", "brier")
NEED_PROBABILITIES = ("roc_auc", "average_precision", "log_loss", "brier")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What one model said of the rows.

    `predicted` has class indices, shape (n_rows,), -1 for what is no class; `probabilities` the shape
    (n_rows, n_classes), None if the model gave none (metrics that need them are then refused).
    """

    predicted: NDArray[np.int64]
    probabilities: Floats | None = None

    def __getitem__(self, rows: NDArray[np.bool_]) -> Answers:
        """Answers of some rows."""
        return Answers(self.predicted[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True)
class Measure:
    """A metric's value and the contribution of each row, shape (n_rows,); these sum up to zero."""

    value: float
    contributions: Floats


def check_metric(metric: str, class_index: int | None, answers: Answers) -> None:
    """A ValueError unless there is such a metric and the answers have what it needs."""
    names = METRIC_NAMES if class_index is None else CLASS_METRIC_NAMES
    if metric not in names:
        of = "" if class_index is None else " of a class"
        raise ValueError(f"No metric{of} is called {metric!r}. There are {', '.join(names)}.")
    if metric in NEED_PROBABILITIES and answers.probabilities is None:
        raise ValueError(f"{metric} needs probabilities, and the model gave none.")


def measure(
    metric: str, y: NDArray[np.int64], answers: Answers, n_classes: int, class_index: int | None = None
) -> Measure | None:
    """A metric and its contributions; None where the rows do not define it."""
    check_metric(metric, class_index, answers)
    if len(y) == 0:
        return None
    if class_index is not None:
        return _of_class(metric, y, answers, class_index)
    if metric == "accuracy":
        return _mean(np.asarray(y == answers.predicted, dtype=np.float64))
    if metric in ("log_loss", "brier"):
        return _mean(losses(metric, y, answers))
    name = {"balanced_accuracy": "recall"}.get(metric, metric.removesuffix("_macro"))
    ranks = name in ("roc_auc", "average_precision")
    chosen = [1] if ranks and n_classes == 2 else np.unique(y).tolist()
    return _average([_of_class(name, y, answers, index) for index in chosen])


def losses(metric: str, y: NDArray[np.int64], answers: Answers) -> Floats:
    """Log loss or Brier score of each row."""
    probabilities = answers.probabilities
    assert probabilities is not None
    if metric == "log_loss":
        least = np.finfo(probabilities.dtype).eps
        stated = np.take_along_axis(probabilities, y[:, np.newaxis], axis=1)[:, 0]
        return np.asarray(-np.log(stated.clip(least, 1 - least)))
    if probabilities.shape[1] == 2:
        return np.asarray((probabilities[:, 1] - (y == 1)) ** 2)
    truth = np.arange(probabilities.shape[1]) == y[:, np.newaxis]
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def _of_class(metric: str, y: NDArray[np.int64], answers: Answers, index: int) -> Measure | None:
    is_class = y == index
    if not is_class.any():
        return None
    if metric == "roc_auc" or metric == "average_precision":
        assert answers.probabilities is not None
        scores = answers.probabilities[:, index]
        if metric == "average_precision":
            return _average_precision(is_class, scores)
        return None if is_class.all() else _roc_auc(is_class, scores)
    said = answers.predicted == index
    right = (is_class & said).astype(np.float64)
    # A share of weighted rows: F-beta weighs a miss beta² and a false alarm 1; precision and recall only one.
    misses, alarms = {"recall": (1.0, 0.0), "precision": (0.0, 1.0), "f1": (0.5, 0.5), "f2": (0.8, 0.2)}[
        metric
    ]
    weights = np.where(is_class, np.where(said, 1.0, misses), np.where(said, alarms, 0.0))
    total = weights.sum()
    if total == 0:
        return Measure(0.0, np.zeros(len(y)))
    value = right.sum() / total
    return Measure(float(value), np.asarray((right - value * weights) * (len(y) / total)))


def _mean(values: Floats) -> Measure:
    return Measure(float(values.mean()), np.asarray(values - values.mean()))


def _average(measures: list[Measure | None]) -> Measure | None:
    """Mean of those that are defined."""
    defined = [found for found in measures if found is not None]
    if not defined:
        return None
    value = np.mean([found.value for found in defined])
    return Measure(float(value), np.asarray(sum(found.contributions for found in defined) / len(defined)))


def _roc_auc(is_class: NDArray[np.bool_], scores: Floats) -> Measure:
    # In the order of the scores, so that each search goes on where the last one ended.
    order = np.argsort(scores)
    ascending, of_class = scores[order], is_class[order]
    inside, outside = ascending[of_class], ascending[~of_class]
    # How many of the other side a row beats, ties counting half.
    beats = np.empty(len(scores))
    beats[order[of_class]] = np.searchsorted(outside, inside) + np.searchsorted(outside, inside, side="right")
    beats[order[~of_class]] = (
        2 * len(inside) - np.searchsorted(inside, outside) - np.searchsorted(inside, outside, side="right")
    )
    wins = beats / (2 * np.where(is_class, len(outside), len(inside)))
    value = wins[is_class].mean()
    n_side = np.where(is_class, len(inside), len(outside))
    return Measure(float(value), np.asarray((wins - value) * (len(scores) / n_side)))


def turned_precisions(is_class: NDArray[np.bool_], scores: Floats) -> Floats:
    """What each row adds to the sum of precisions, were it on the other side; shape (n_rows,).

    A row outside the class brings a precision of its own; one inside it lowers those of the rows below.
    """
    order, inside, found, passed = _passed(is_class, scores)
    gain, cost = _below(inside, found / passed, passed, -scores[order])
    turned = np.empty(len(scores))
    brought = np.minimum((found + 1) / passed, 1.0) + gain
    turned[order] = (1 - inside) * brought - cost
    return turned


def _average_precision(is_class: NDArray[np.bool_], scores: Floats) -> Measure:
    order, inside, found, passed = _passed(is_class, scores)
    n_inside = inside.sum()
    precision = found / passed
    value = (inside * precision).sum() / n_inside
    gain, cost = _below(inside, precision, passed, -scores[order])
    contributions = np.empty(len(scores))
    contributions[order] = (inside * (precision - value + gain) - cost) * (len(scores) / n_inside)
    return Measure(float(value), contributions)


def _passed(is_class: NDArray[np.bool_], scores: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Order of the rows, best scores first, and in it: whether of the class, rows found and passed so far.

    Rows with the same score pass a threshold together: each counts what its group's last row has.
    """
    order = np.argsort(-scores, kind="stable")
    inside = is_class[order].astype(np.float64)
    last = np.searchsorted(-scores[order], -scores[order], side="right") - 1
    return order, inside, np.cumsum(inside)[last], (last + 1).astype(np.float64)


def _below(inside: Floats, precision: Floats, passed: Floats, ordered: Floats) -> tuple[Floats, Floats]:
    """Sums over the positives at or below a row's group, whose thresholds are passed by this row, too."""
    first = np.searchsorted(ordered, ordered, side="left")
    gain = np.cumsum((inside / passed)[::-1])[::-1][first]
    cost = np.cumsum((inside * precision / passed)[::-1])[::-1][first]
    return gain, cost
