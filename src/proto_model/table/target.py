"""The column that is predicted, and its class labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError
from proto_model.schema import FeatureType
from proto_model.table.columns import Column

__all__ = ["class_labels", "target_name"]

_USUAL_NAMES = ("target", "class", "label", "y")
_LARGEST_WHOLE = 2.0**53


def target_name(names: list[str], target: str | None, shown: str) -> str:
    """Name of the column to predict.

    Parameters
    ----------
    names : list of str
        Columns of the table.
    target : str or None
        As asked for; None for the one column called target, class, label or y, in upper or lower case.
    shown : str
        Names the table in errors.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If there is no such column, or more than one.
    """
    columns = ", ".join(repr(name) for name in names[:50]) + (", ..." if len(names) > 50 else "")
    if target is not None:
        if target.strip() in names:
            return target.strip()
        raise DataError(f"{shown} has no column {target!r} to predict. Its columns are {columns}.")
    usual = [name for name in names if name.lower() in _USUAL_NAMES]
    if len(usual) == 1:
        return usual[0]
    problem = f"several that could be meant ({usual})" if usual else f"none called {', '.join(_USUAL_NAMES)}"
    raise DataError(f"Which column is to be predicted? {shown} has {problem}. Give target, one of {columns}.")


def class_labels(column: Column) -> tuple[NDArray[Any], FeatureType]:
    """Class label of each row, and the labels' type.

    Parameters
    ----------
    column : Column
        Of the target, without missing values.

    Returns
    -------
    ndarray of shape (n_rows,), {"string", "long", "boolean", "double"}
        Objects (str), int64, bool or float64; whole numbers are integers however they are stored.

    Raises
    ------
    DataError
        If there are fewer than two classes, a class has fewer than two rows, or the values are no labels.
    """
    if not len(column.values):
        raise DataError(f"Target {column.name!r}: every value is missing.")
    if column.type == "other":
        raise DataError(
            f"Target {column.name!r}: lists, structures and binary values cannot be class labels. "
            "Make texts or numbers of them."
        )
    if column.type == "long" and np.abs(column.values).max() >= _LARGEST_WHOLE:
        raise DataError(
            f"Target {column.name!r}: whole numbers from 2**53 on cannot all be told apart as class labels. "
            "Make texts of them."
        )
    y, kind = _native(column)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"Target {column.name!r}: only one class, {classes.tolist()[0]!r}. Two or more are needed."
        )
    if counts.min() < 2:
        rare = classes[counts < 2].tolist()
        hint = " Is it a quantity rather than a class?" if len(rare) > len(y) / 4 else ""
        raise DataError(
            f"Target {column.name!r}: {len(rare)} of {len(classes)} classes have one row only, such as "
            f"{rare[:5]}. One for training and another for testing are needed.{hint}"
        )
    return y, kind


def _native(column: Column) -> tuple[NDArray[Any], FeatureType]:
    if column.texts is not None:
        return column.objects(), "string"
    if column.type == "boolean":
        return column.values.astype(bool), "boolean"
    if (column.values == np.floor(column.values)).all() and np.abs(column.values).max() < _LARGEST_WHOLE:
        return column.values.astype(np.int64), "long"
    return column.values, "double"
