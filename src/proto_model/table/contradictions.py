"""Rows that are equal but for their class, and the best score that they leave within reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table.training_data import TrainingData


@dataclass(frozen=True)
class Contradictions:
    """Rows whose features are equal and whose classes are not; the best scores that any model can have."""

    n_rows: int
    n_groups: int
    best_accuracy: float
    best_balanced_accuracy: float


def contradictions(data: TrainingData) -> Contradictions:
    """What equal rows of different classes cost, over training and test rows together."""
    labels = np.concatenate([data.y_train, data.y_test])
    y = np.unique(labels, return_inverse=True)[1]
    rows, groups = _equal_rows([data.X_train, data.X_test], data.schema.feature_names)
    n_classes, n_groups = int(y.max()) + 1, int(groups.max(initial=-1)) + 1
    counts = np.bincount(groups * n_classes + y[rows], minlength=n_groups * n_classes)
    counts = counts.reshape(n_groups, n_classes)
    mixed = counts[(counts > 0).sum(axis=1) > 1]
    of_class = np.bincount(y, minlength=n_classes)
    lost = int((mixed.sum(axis=1) - mixed.max(axis=1)).sum())
    shares = mixed / of_class
    lost_shares = float((shares.sum(axis=1) - shares.max(axis=1)).sum())
    return Contradictions(
        n_rows=int(mixed.sum()),
        n_groups=len(mixed),
        best_accuracy=1 - lost / len(y),
        best_balanced_accuracy=1 - lost_shares / n_classes,
    )


def _equal_rows(frames: list[pd.DataFrame], names: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that have an equal, and the group of equal ones that each is in.

    Column by column, and only among the rows that are still equal: most tables are done after a few columns.
    """
    n_rows = sum(map(len, frames))
    rows, groups = np.arange(n_rows), np.zeros(n_rows, dtype=np.int64)
    for name in names:
        cells = pd.concat([frame[name] for frame in frames], ignore_index=True).iloc[rows]
        rows, groups = _still_equal(rows, groups, cells)
        if not len(rows):
            break
    return rows, groups


def _still_equal(
    rows: NDArray[np.int64], groups: NDArray[np.int64], cells: pd.Series[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    codes = pd.factorize(cells, use_na_sentinel=False)[0]
    groups = np.unique(groups * (int(codes.max()) + 1) + codes, return_inverse=True)[1]
    inside = np.bincount(groups)[groups] > 1
    return rows[inside], np.unique(groups[inside], return_inverse=True)[1]
