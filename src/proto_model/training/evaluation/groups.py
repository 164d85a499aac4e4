"""The same figures for each group of people or things, to see whether the model treats one worse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["MAX_GROUPS", "metrics_by_group"]

MAX_GROUPS = 10
"""A column with more different values than this is not looked at group by group."""

_MISSING = "(missing)"


def metrics_by_group(
    X: pd.DataFrame,
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    columns: Sequence[str],
) -> pd.DataFrame:
    """Figures of the predictions for each value of each column.

    Parameters
    ----------
    X : DataFrame
        Held-out rows.
    y, predicted : ndarray of shape (n_samples,)
        Class of each row and the predicted one, as indices.
    n_classes : int
        How many classes there are; with two, the second is the one counted as positive.
    columns : sequence of str
        Columns of `X` to group by; those with one value or more than `MAX_GROUPS` are passed over.

    Returns
    -------
    DataFrame
        One row per group: `feature`, `group`, `rows`, `accuracy`, `balanced_accuracy` (over the classes that
        the group has), and with two classes `predicted_positive` (demographic parity compares it),
        `true_positive_rate` (equal opportunity) and `false_positive_rate`; NaN where there are no such rows.
    """
    records = []
    for column in columns:
        values = X[column].astype(object).where(X[column].notna(), _MISSING)
        groups = sorted(values.unique(), key=str)
        if not 2 <= len(groups) <= MAX_GROUPS:
            continue
        for group in groups:
            inside = (values == group).to_numpy(dtype=bool)
            figures = _figures(y[inside], predicted[inside], n_classes)
            records.append({"feature": column, "group": str(group), "rows": int(inside.sum())} | figures)
    names = ["feature", "group", "rows", *_figures(y[:0], predicted[:0], n_classes)]
    return pd.DataFrame(records, columns=names)


def _figures(y: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> dict[str, float]:
    right = y == predicted
    recalls = [_share(right[y == index]) for index in range(n_classes) if (y == index).any()]
    figures = {"accuracy": _share(right), "balanced_accuracy": float(np.mean(recalls)) if recalls else np.nan}
    if n_classes == 2:
        figures["predicted_positive"] = _share(predicted == 1)
        figures["true_positive_rate"] = _share(predicted[y == 1] == 1)
        figures["false_positive_rate"] = _share(predicted[y == 0] == 1)
    return figures


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
