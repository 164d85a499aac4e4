"""One column of a request as codes, and which of its values are not what the feature accepts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import Feature, ModelSchema

__all__ = ["Expectation", "coded_column"]

BOOLEANS = (bool, np.bool_)
NUMBERS = (int, float, np.integer, np.floating, Decimal)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the numeric features of a schema accept, as one array per question.

    Parameters
    ----------
    required, whole, binary : ndarray of shape (n_features,)
        Whether NaN is refused; whether fractions are; whether all but 0 and 1 is.
    """

    required: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    binary: NDArray[np.bool_]

    @classmethod
    def of(cls, schema: ModelSchema) -> Expectation:
        """Expectation of a schema, made once per schema."""
        return _expectation(schema)

    def unmet(self, matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which numbers of a matrix with a column per feature are not accepted."""
        missing = np.isnan(matrix)
        bad: NDArray[np.bool_] = np.isinf(matrix) | (missing & self.required)
        if self.whole.any():
            bad |= self.whole & (np.floor(matrix) != matrix) & ~missing
        if self.binary.any():
            bad |= self.binary & (matrix != 0) & (matrix != 1) & ~missing
        return bad


@lru_cache(maxsize=64)
def _expectation(schema: ModelSchema) -> Expectation:
    features = schema.features
    return Expectation(
        required=np.array([not feature.nullable for feature in features]),
        whole=np.array([feature.type == "long" for feature in features]),
        binary=np.array([feature.type == "boolean" for feature in features]),
    )


def coded_column(values: NDArray[Any], feature: Feature) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Codes of a column's values, and a mask of those that the feature does not accept.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        Of any dtype; an array of objects may hold anything.
    feature : Feature
        Numbers are accepted for `double`; whole ones for `long`; truth values, 0 and 1 for `boolean`; strings
        for `string`, known or not; None and NaN if it is nullable.

    Returns
    -------
    codes : ndarray of shape (n_rows,)
        As in the coded matrix; undefined where `bad`.
    bad : ndarray of shape (n_rows,)
        Whether a value is refused.
    """
    if feature.categories is not None:
        return _categories(values, feature)
    kind = values.dtype.kind
    if kind in "fiu" or (kind == "b" and feature.type == "boolean"):
        codes, bad = values.astype(np.float64), np.zeros(len(values), dtype=bool)
    elif kind == "O":
        codes, bad = _numbers(values, feature)
    else:
        return np.full(len(values), np.nan), np.ones(len(values), dtype=bool)
    missing = np.isnan(codes)
    bad |= np.isinf(codes)
    if not feature.nullable:
        bad |= missing
    if feature.type == "long":
        bad |= (np.floor(codes) != codes) & ~missing
    elif feature.type == "boolean":
        bad |= (codes != 0) & (codes != 1) & ~missing
    return codes, bad


def _numbers(values: NDArray[Any], feature: Feature) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Objects as numbers; a mask of those that are none."""
    codes = np.full(len(values), np.nan)
    bad = np.zeros(len(values), dtype=bool)
    accepted = (*NUMBERS, *BOOLEANS) if feature.type == "boolean" else NUMBERS
    for row, value in enumerate(values.tolist()):
        if value is None:
            continue
        if isinstance(value, accepted) and (feature.type == "boolean" or not isinstance(value, BOOLEANS)):
            try:
                codes[row] = value
            except OverflowError:  # a whole number beyond the largest float
                codes[row] = np.inf
        else:
            bad[row] = True
    return codes, bad


def _categories(values: NDArray[Any], feature: Feature) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Strings as the index of their category."""
    n_rows = len(values)
    if values.dtype.kind not in "OU":
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(n_rows, dtype=bool)
        return np.full(n_rows, np.nan), ~missing | (not feature.nullable)
    objects = values.tolist()
    index = _index(feature)
    codes = np.fromiter((_code(index, value) for value in objects), dtype=np.float64, count=n_rows)
    unknown = np.flatnonzero(np.isnan(codes))
    bad = np.zeros(n_rows, dtype=bool)
    for row in unknown.tolist():
        value = objects[row]
        if not isinstance(value, str):
            # A float that is not itself is NaN.
            missing_value = value is None or (isinstance(value, float) and value != value)
            bad[row] = not (missing_value and feature.nullable)
    return codes, bad


def _code(index: dict[str, float], value: Any) -> float:
    """Code of a category, NaN for everything else."""
    return index.get(value, np.nan) if isinstance(value, str) else np.nan


@lru_cache(maxsize=1024)
def _index(feature: Feature) -> dict[str, float]:
    """Code of each category; shared, so not to be changed."""
    assert feature.categories is not None
    return {category: float(code) for code, category in enumerate(feature.categories)}
