"""Features that number rows instead of describing them, and features that never vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto_model.table.roles import named_like_identifier
from proto_model.table.training_data import TrainingData

_LEAST_ROWS = 50
_REPEATS = 7.0  # fewer repeats than this could be missing by chance: exp(-7) is below 0.001
_MANY_VALUES = 0.2  # distinct values per row, from which a column named like an identifier acts as one
_MANY_TEXTS = 0.5


def identifier_columns(data: TrainingData) -> list[str]:
    """Features whose values were handed out, not measured.

    Categories that hardly repeat; whole numbers that are named like identifiers and have many values; and
    whole numbers that never repeat although at least seven pairs of rows would share a value if all values
    between the lowest and the highest were equally likely. Any other distribution repeats more.
    """
    found = []
    for feature in data.schema.features:
        column = data.X_train[feature.name]
        if feature.type == "string" and feature.categories is not None:
            if column.count() >= _LEAST_ROWS and column.nunique() > _MANY_TEXTS * column.count():
                found.append(feature.name)
        elif feature.type == "long" and _numbers_rows(feature.name, column.to_numpy()):
            found.append(feature.name)
    return found


def _numbers_rows(name: str, values: NDArray[np.float64]) -> bool:
    values = values[~np.isnan(values)]
    n_rows, n_distinct = len(values), len(np.unique(values))
    if n_rows < _LEAST_ROWS:
        return False
    if named_like_identifier(name) and n_distinct > _MANY_VALUES * n_rows:
        return True
    expected = n_rows * (n_rows - 1) / 2 / (values.max() - values.min() + 1)
    return bool(n_distinct == n_rows and expected >= _REPEATS)


def constant_columns(data: TrainingData) -> list[str]:
    """Features that are the same in all training rows: only those that the user keeps."""
    return [name for name in data.schema.feature_names if data.X_train[name].nunique(dropna=False) == 1]
