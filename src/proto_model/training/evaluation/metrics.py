"""Metrics on held-out rows: of a whole table, of each class, of each group, and what each feature is worth.

To add a metric, add a line to `METRICS` or `CLASS_METRICS`: logging, model card and leader board follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    fbeta_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from proto_model.training.evaluation.group_bounds import group_bounds
from proto_model.training.evaluation.groupings import MAX_GROUPS

_MISSING = "(missing)"
_SIGNS = ((">=", "ge_"), ("<=", "le_"), (">", "gt_"), ("<", "lt_"), ("=", "eq_"))
_MAX_SUFFIX = 60


class Predictions:
    """Rows whose classes are known, and the probabilities that a model gave them: what metrics take."""

    def __init__(
        self,
        y: NDArray[np.int64],
        probabilities: NDArray[np.float64],
        predicted: NDArray[np.int64] | None = None,
    ) -> None:
        self.y, self.probabilities = y, probabilities
        self.n_classes = probabilities.shape[1]
        self.predicted = probabilities.argmax(axis=1) if predicted is None else predicted
        options = {"labels": range(self.n_classes), "zero_division": 0.0}
        self.precision, recall, self.f1, n_rows = precision_recall_fscore_support(
            y, self.predicted, **options
        )
        self.f2 = fbeta_score(y, self.predicted, beta=2.0, average=None, **options)
        self.present = n_rows > 0
        self.recall = np.where(self.present, recall, np.nan)

    @cached_property
    def per_class(self) -> dict[str, NDArray[np.float64]]:
        """Each of `CLASS_METRICS` for each class."""
        return {metric.name: metric.function(self) for metric in CLASS_METRICS}

    def mean(self, name: str) -> float:
        """Mean of a class metric over the classes that have rows."""
        return float(self.per_class[name][self.present].mean())

    def mean_ranking(self, name: str) -> float:
        """The same of a metric that ranks rows: of two classes the second one alone; NaN if undefined."""
        ranked = np.array([False, True]) & self.present if self.n_classes == 2 else self.present
        defined = self.per_class[name][ranked]
        defined = defined[np.isfinite(defined)]
        return float(defined.mean()) if len(defined) else float("nan")

    def one_against_rest(self, score: Callable[..., float], *, needs_rest: bool) -> NDArray[np.float64]:
        """A ranking score of each class against all others; NaN where one of the sides has no rows."""
        scores = np.full(self.n_classes, np.nan)
        for index in np.flatnonzero(self.present):
            is_class = self.y == index
            if not (needs_rest and is_class.all()):
                scores[index] = score(is_class, self.probabilities[:, index])
        return scores

    def log_loss(self) -> float:
        """Mean of the negative logarithms of the true classes' probabilities."""
        return float(log_loss(self.y, self.probabilities, labels=range(self.n_classes)))

    def brier(self) -> float:
        """Mean squared error of the probabilities: of the second of two classes, else summed over all."""
        return float(brier_score_loss(self.y, self.probabilities, labels=range(self.n_classes)))


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are."""

    name: str  # in MLflow, after `test_`
    title: str  # in the model card
    function: Callable[[Predictions], Any]  # a number, or one per class; NaN where it is not defined
    lower_is_better: bool = False
    on_board: str = ""  # heading of its column on the leader board; empty for none

    @property
    def described(self) -> str:
        """Title, with the direction where lower is better."""
        return f"{self.title} (lower is better)" if self.lower_is_better else self.title


METRICS = (
    Metric("balanced_accuracy", "balanced accuracy", lambda p: p.mean("recall"),
           on_board="balanced accuracy (test)"),
    Metric("accuracy", "accuracy", lambda p: (p.y == p.predicted).mean(), on_board="accuracy"),
    Metric("precision_macro", "precision (mean of the classes)", lambda p: p.mean("precision")),
    Metric("recall_macro", "recall (mean of the classes)", lambda p: p.mean("recall")),
    Metric("f1_macro", "F1 (mean of the classes)", lambda p: p.mean("f1"), on_board="macro F1"),
    Metric("f2_macro", "F2 (mean of the classes)", lambda p: p.mean("f2")),
    Metric("roc_auc", "area under the ROC curve", lambda p: p.mean_ranking("roc_auc"), on_board="ROC AUC"),
    Metric("average_precision", "average precision", lambda p: p.mean_ranking("average_precision")),
    Metric("log_loss", "log loss", Predictions.log_loss, lower_is_better=True),
    Metric("brier", "Brier score", Predictions.brier, lower_is_better=True),
)  # fmt: skip
"""Metrics of a whole table, the one that ranks first."""

CLASS_METRICS = (
    Metric("precision", "precision", lambda p: p.precision),
    Metric("recall", "recall", lambda p: p.recall),
    Metric("f1", "F1", lambda p: p.f1),
    Metric("f2", "F2", lambda p: p.f2),
    Metric("roc_auc", "ROC AUC", lambda p: p.one_against_rest(roc_auc_score, needs_rest=True)),
    Metric("average_precision", "average precision",
           lambda p: p.one_against_rest(average_precision_score, needs_rest=False)),
)  # fmt: skip
"""Metrics of each class."""


def classification_metrics(
    y: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[object],
    predicted: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """`METRICS` and `CLASS_METRICS` of a classifier's probabilities on rows whose classes are known.

    The predicted class is the most probable one unless `predicted` has others. Means over classes leave out
    classes that have no row here. With two classes, `roc_auc`, `average_precision` and `brier` are about the
    second one.

    `y` holds indices into `labels`, shape (n_samples,); `probabilities` are of shape (n_samples, n_classes).
    Class metrics are called `<metric>/<label>`, the label made fit for a metric name. Metrics that are not
    defined for these rows are left out: all are finite. A ValueError says that there are no rows, or that the
    shapes do not fit each other.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> metrics = classification_metrics(np.array([0, 0, 1]), probabilities, ["a", "b"])
    >>> metrics["balanced_accuracy"], metrics["recall/a"], metrics["roc_auc"]
    (0.75, 0.5, 1.0)
    """
    if len(y) == 0 or probabilities.shape != (len(y), len(labels)):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} given for {len(y)} rows, "
            f"({len(y)}, {len(labels)}) expected, with at least one row."
        )
    predictions = Predictions(y, probabilities, predicted)
    metrics = {metric.name: metric.function(predictions) for metric in METRICS}
    for name, values in predictions.per_class.items():
        values = np.where(predictions.present, values, np.nan)
        metrics |= {
            f"{name}/{suffix}": value for suffix, value in zip(metric_suffixes(labels), values, strict=True)
        }
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def metric_suffixes(labels: Sequence[object]) -> list[str]:
    """Text for each class label that any MLflow store accepts in a metric name, all different.

    Comparison signs become words, because they are often all that tells two labels apart; characters other
    than ASCII letters, digits, `_`, `-` and `.` become `_`. Labels that still coincide, also when only their
    case differs (some databases ignore it), get a number.

    Examples
    --------
    >>> metric_suffixes(["<=50K", ">50K", "a/b", "a b", "", 3])
    ['le_50K', 'gt_50K', 'a_b', 'a_b_2', 'class', '3']
    """
    suffixes: dict[str, str] = {}
    for label in labels:
        text = str(label)
        for sign, word in _SIGNS:
            text = text.replace(sign, word)
        text = re.sub(r"[^0-9A-Za-z_.-]+", "_", text).strip("_.")[:_MAX_SUFFIX] or "class"
        candidate, number = text, 1
        while candidate.casefold() in suffixes:
            number += 1
            candidate = f"{text}_{number}"
        suffixes[candidate.casefold()] = candidate
    return list(suffixes.values())


def metrics_by_group(
    X: pd.DataFrame, y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> pd.DataFrame:
    """Metrics of the predictions for each value of each column, to see if the model treats a group worse.

    Columns with one value or more than `MAX_GROUPS` are skipped; `y` and `predicted` are class indices. The
    result has a row per group, those of a categorical column in the order of its categories: `feature`,
    `group`, `rows`, `accuracy`, `balanced_accuracy` (over the classes that the group has), and with two
    classes, of which the second counts as positive, `predicted_positive` (demographic parity compares it),
    `true_positive_rate` (equal opportunity) and `false_positive_rate`; NaN where there are no such rows. Ends
    of their 95 % intervals follow, as `accuracy_low`, `accuracy_high`.
    """
    records = []
    for column in X.columns:
        known, missing = X[column].dropna(), X[column].isna()
        ordered = isinstance(known.dtype, pd.CategoricalDtype)
        groups = list(known.cat.categories) if ordered else sorted(known.unique(), key=str)
        members = {
            str(group): (X[column] == group).to_numpy(dtype=bool) for group in groups[: MAX_GROUPS + 1]
        }
        members |= {_MISSING: missing.to_numpy()}
        members = {group: inside for group, inside in members.items() if inside.any()}
        if not 2 <= len(members) <= MAX_GROUPS + missing.any():
            continue
        for group, inside in members.items():
            figures = _group_metrics(y[inside], predicted[inside], n_classes)
            records.append({"feature": column, "group": group, "rows": int(inside.sum())} | figures)
    names = ["feature", "group", "rows", *_group_metrics(y[:0], predicted[:0], n_classes)]
    return pd.DataFrame(records, columns=names)


def _group_metrics(y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> dict[str, float]:
    right = y == predicted
    recalls = [_share(right[y == index]) for index in range(n_classes) if (y == index).any()]
    figures = {"accuracy": _share(right), "balanced_accuracy": float(np.mean(recalls)) if recalls else np.nan}
    if n_classes == 2:
        figures["predicted_positive"] = _share(predicted == 1)
        figures["true_positive_rate"] = _share(predicted[y == 1] == 1)
        figures["false_positive_rate"] = _share(predicted[y == 0] == 1)
    return figures | group_bounds(y, predicted, n_classes)


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def permutation_importance(
    predict_proba: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    matrix: NDArray[np.float64],
    y: NDArray[np.int64],
    feature_names: Sequence[str],
    *,
    random_state: int,
    n_repeats: int = 5,
    max_rows: int = 2000,
) -> pd.DataFrame:
    """How much probability the true class loses when the values of one feature are shuffled.

    Probability rather than accuracy (Breiman 2001), because a forest that is nearly always right has votes to
    spare: most features change no prediction, but each shifts votes. Classes weigh alike, however rare. The
    cost is bounded: one call of `predict_proba` per feature, with at most `n_repeats * max_rows` rows.

    `matrix` holds coded rows, shape (n_samples, n_features), and `y` their class indices. The result has
    `feature`, `importance` (mean loss) and `std` (over the shuffles), the most important first.
    """
    generator = np.random.default_rng(random_state)
    if len(matrix) > max_rows:
        chosen = np.sort(generator.choice(len(matrix), size=max_rows, replace=False))
        matrix, y = matrix[chosen], y[chosen]
    n_rows = len(matrix)
    present, truth = np.unique(y), y[np.newaxis, :, np.newaxis]

    def trust(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean probability of the true class, per repeat."""
        probabilities = predict_proba(rows).reshape(len(rows) // n_rows, n_rows, -1)
        of_truth = np.take_along_axis(probabilities, truth, axis=2)[..., 0]
        return np.asarray(np.mean([of_truth[:, y == index].mean(axis=1) for index in present], axis=0))

    baseline = trust(matrix)
    losses = np.empty((len(feature_names), n_repeats))
    for feature in range(len(feature_names)):
        # All shuffles of a feature go into one call: a call costs more than its rows.
        shuffled = np.tile(matrix, (n_repeats, 1))
        for repeat in range(n_repeats):
            rows = slice(repeat * n_rows, (repeat + 1) * n_rows)
            shuffled[rows, feature] = generator.permutation(matrix[:, feature])
        losses[feature] = baseline - trust(shuffled)

    table = pd.DataFrame(
        {"feature": list(feature_names), "importance": losses.mean(axis=1), "std": losses.std(axis=1)}
    )
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
