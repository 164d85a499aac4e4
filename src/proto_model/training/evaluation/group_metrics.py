"""Metrics of each group of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.training.evaluation.group_bounds import group_bounds
from proto_model.training.evaluation.groupings import MAX_GROUPS

_MISSING = "(missing)"


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
