"""Rows as a matrix of numbers and back: what forests, explanations and file scoring all compute on.

The canonical frame has the schema's columns in the schema's order: numbers and booleans as float64,
categories as objects (str or None). The coded matrix holds the same rows as float64: booleans as 0 and 1, a
category as its index in `Feature.categories`, NaN for a missing value and for a category that training never
saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.schema import Feature, ModelSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["decode", "encode", "encode_columns"]


def encode(frame: pd.DataFrame, schema: ModelSchema) -> NDArray[np.float64]:
    """Coded matrix of a canonical frame.

    Parameters
    ----------
    frame : DataFrame
        Holds every feature of the schema; columns in any order, further ones are ignored.
    schema : ModelSchema
        Names, types and categories.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        C-contiguous float64, columns in the schema's order.

    Raises
    ------
    InputError
        If a feature's column is missing.
    """
    present = set(frame.columns)
    columns = {name: frame[name].to_numpy() for name in schema.feature_names if name in present}
    return encode_columns(columns, schema)


def encode_columns(columns: Mapping[str, NDArray[Any]], schema: ModelSchema) -> NDArray[np.float64]:
    """Coded matrix of one array per feature, for rows that never were a data frame.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,)
        Numbers and booleans as any numeric array, categories as an array of objects (str or None).
    schema : ModelSchema
        Names, types and categories.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        C-contiguous float64, columns in the schema's order.

    Raises
    ------
    InputError
        If a feature's column is missing.

    Examples
    --------
    >>> from proto_model.schema import Feature, ModelSchema
    >>> colour = Feature("colour", "string", True, categories=("blue", "red"), most_frequent="red")
    >>> size = Feature("size", "double", False, minimum=0.0, maximum=9.0, median=3.0)
    >>> schema = ModelSchema("m", "class", "long", (0, 1), (colour, size))
    >>> encode_columns({"size": np.array([1.5, 2.0]), "colour": np.array(["red", None])}, schema)
    array([[1. , 1.5],
           [nan, 2. ]])
    """
    missing = [name for name in schema.feature_names if name not in columns]
    if missing:
        raise InputError(f"Columns missing: {missing}. The model takes {schema.feature_names}.")
    n_rows = len(columns[schema.feature_names[0]])
    matrix = np.empty((n_rows, len(schema.features)))
    for position, feature in enumerate(schema.features):
        values = columns[feature.name]
        matrix[:, position] = values if feature.categories is None else _codes(values, feature.categories)
    return matrix


def decode(matrix: NDArray[np.float64], schema: ModelSchema) -> pd.DataFrame:
    """Canonical frame of a coded matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        As `encode` returns it.
    schema : ModelSchema
        Names, types and categories.

    Returns
    -------
    DataFrame
        One column per feature; NaN of a categorical feature becomes None.

    Raises
    ------
    InputError
        If the width is not the schema's, or a code is not the index of a category.
    """
    import pandas as pd

    if matrix.ndim != 2 or matrix.shape[1] != len(schema.features):
        raise InputError(
            f"A matrix of shape {matrix.shape} given, (n_rows, {len(schema.features)}) expected."
        )
    columns = {
        feature.name: pd.Series(matrix[:, position])
        if feature.categories is None
        else pd.Series(_texts(matrix[:, position], feature), dtype=object)
        for position, feature in enumerate(schema.features)
    }
    return pd.DataFrame(columns, columns=schema.feature_names)


def _codes(values: Iterable[Any], categories: tuple[str, ...]) -> NDArray[np.float64]:
    """Index of each value among the categories, NaN where it is none of them."""
    index = {category: float(code) for code, category in enumerate(categories)}
    return np.fromiter(map(index.get, values, repeat(np.nan)), dtype=np.float64)


def _texts(codes: NDArray[np.float64], feature: Feature) -> NDArray[np.object_]:
    """Category behind each code, None for NaN."""
    assert feature.categories is not None
    missing = np.isnan(codes)
    index = np.where(missing, len(feature.categories), codes)
    wrong = ~missing & ((index != np.floor(index)) | (index < 0) | (index >= len(feature.categories)))
    if wrong.any():
        raise InputError(
            f"Feature {feature.name!r}: code {codes[wrong][0]} is not the index of one of its "
            f"{len(feature.categories)} categories."
        )
    return np.array([*feature.categories, None], dtype=object)[index.astype(np.int64)]
