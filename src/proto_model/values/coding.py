"""Rows as one coded matrix, and as the canonical frame."""

from __future__ import annotations

import math
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.dates import moments_of
from proto_model.errors import InputError
from proto_model.schema import DATE_TYPES, Feature, ModelSchema
from proto_model.texts import terms_of_mask
from proto_model.values.rules import Rule

if TYPE_CHECKING:
    import pandas as pd


def encode(frame: pd.DataFrame, schema: ModelSchema) -> NDArray[np.float64]:
    """Coded matrix of a canonical frame, which is taken as it is.

    Parameters
    ----------
    frame : DataFrame
        Holds every feature of the schema; columns in any order, further ones are ignored.
    schema : ModelSchema
        Names, types and categories.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        C-contiguous, columns in the schema's order.

    Raises
    ------
    InputError
        If a feature's column is missing.
    """
    missing = [name for name in schema.feature_names if name not in frame.columns]
    if missing:
        raise InputError(f"Columns missing: {missing}. The model takes {schema.feature_names}.")
    matrix = np.empty((len(frame), len(schema.features)))
    for position, feature in enumerate(schema.features):
        values = frame[feature.name].to_numpy()
        if feature.categories is not None:
            index = {category: float(code) for code, category in enumerate(feature.categories)}
            values = np.fromiter(map(index.get, values, repeat(math.nan)), np.float64, len(values))
        elif not feature.takes_numbers:
            values = Rule(feature).read_column(values)[0]
        matrix[:, position] = values
    return matrix


def decode(matrix: NDArray[np.float64], schema: ModelSchema) -> pd.DataFrame:
    """Canonical frame of a coded matrix; NaN of a categorical feature becomes None.

    Of a text, its terms are left.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        As `encode` returns it.
    schema : ModelSchema
        Names, types and categories.

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
        feature.name: pd.Series(_values(matrix[:, position], feature))
        for position, feature in enumerate(schema.features)
    }
    return pd.DataFrame(columns, columns=schema.feature_names)


def _values(codes: NDArray[np.float64], feature: Feature) -> NDArray[Any] | pd.Series[Any]:
    """Values behind the codes of a feature, as a canonical frame holds them."""
    import pandas as pd

    if feature.takes_numbers:
        return codes
    if feature.categories is not None:
        return pd.Series(_texts(codes, feature), dtype=object)
    if feature.type in DATE_TYPES:
        return moments_of(codes, feature.type)
    # A text without terms is a point: no text at all would be a missing one.
    texts = [
        None if code != code else " ".join(terms_of_mask(code, feature.terms or ())) or "." for code in codes
    ]
    return pd.Series(texts, dtype=object)


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
