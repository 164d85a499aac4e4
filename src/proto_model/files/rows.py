"""Columns of a file as the coded matrix, with every value that does not fit named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.arrays import to_numbers
from proto_model.schema import Feature, ModelSchema
from proto_model.table.columns import MISSING_MARKERS

__all__ = ["Fault", "Rows", "check_type", "coded_matrix", "number_faults"]

_MISSING = frozenset(MISSING_MARKERS)
_LARGEST = float(np.finfo(np.float32).max)  # forests compare in 32 bits
_TRUTH = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "1.0"), 1.0),
    **dict.fromkeys(("false", "False", "FALSE", "0", "0.0"), 0.0),
}
_SHOWN = 60


@dataclass(frozen=True)
class Fault:
    """One value that does not fit the schema.

    Parameters
    ----------
    row : int
        Position in its block.
    column : str
        Its column; nothing when the whole row is wrong.
    reason : str
        What is wrong with which value.
    """

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        """As a message without the place of the row."""
        return f"column {self.column!r}: {self.reason}" if self.column else self.reason

    @classmethod
    def of_value(cls, row: int, column: str, value: object, expected: str) -> Fault:
        """Fault that shows the value, cut to a readable length."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        return cls(row, column, f"{shown} given, {expected} expected")


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, ready to be scored.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        Coded as `proto_model.table.encode` does.
    passthrough : list of pyarrow.Array
        Columns to copy, in the order of the request.
    faults : list of Fault
        What does not fit, by row.
    lines : ndarray of shape (n_rows,) or None
        Line within the block on which each row of a text file begins; None where there are no faults.
    n_lines : int
        Lines of the block.
    is_json : bool
        Whether the columns to copy hold JSON text.
    """

    matrix: NDArray[np.float64]
    passthrough: list[pa.Array]
    faults: list[Fault] = field(default_factory=list)
    lines: NDArray[np.int64] | None = None
    n_lines: int = 0
    is_json: bool = False


def coded_matrix(
    columns: Mapping[str, pa.Array],
    schema: ModelSchema,
    n_rows: int,
    matrix: NDArray[np.float64] | None = None,
    filled: Sequence[int] = (),
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Coded matrix of typed columns, and what in them does not fit the schema.

    Parameters
    ----------
    columns : mapping of str to pyarrow.Array
        Per feature: numbers, truth values, or text (also dictionary-encoded) for categories and truth values.
        A feature without a column is missing in every row.
    schema : ModelSchema
        Types, categories and which features may be missing.
    n_rows : int
        Length of the columns.
    matrix : ndarray of shape (n_rows, n_features), optional
        To fill; a new one by default.
    filled : sequence of int
        Columns of a matrix given that hold their numbers already.

    Returns
    -------
    matrix : ndarray of shape (n_rows, n_features)
        NaN for a missing value and for a category that training never saw.
    faults : list of Fault
        Missing values that may not be missing, infinite numbers, broken whole numbers, by row.
    """
    if matrix is None:
        matrix = np.empty((n_rows, len(schema.features)))
    faults: list[Fault] = []
    numbers = list(filled)
    others = set(range(len(schema.features))).difference(filled)
    for position in sorted(others):
        feature = schema.features[position]
        column = columns.get(feature.name)
        if column is None:
            matrix[:, position] = np.nan
        elif pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            matrix[:, position] = _from_text(column, feature, faults)
        else:
            matrix[:, position] = to_numbers(column)
            numbers.append(position)
    faults += number_faults(matrix, schema, numbers)
    order = {name: position for position, name in enumerate(schema.feature_names)}
    faults.sort(key=lambda fault: (fault.row, order[fault.column]))
    return matrix, faults


def number_faults(matrix: NDArray[np.float64], schema: ModelSchema, positions: Sequence[int]) -> list[Fault]:
    """What does not fit the schema in columns of numbers, by column.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        NaN where a value is missing.
    schema : ModelSchema
        Types, and which features may be missing.
    positions : sequence of int
        Columns to look at.
    """
    features = [schema.features[position] for position in positions]
    in_range = matrix.size == 0 or (-_LARGEST <= matrix.min() and matrix.max() <= _LARGEST)  # false for NaN
    if in_range and all(feature.type == "double" for feature in features):
        return []
    faults: list[Fault] = []
    for position, feature in zip(positions, features, strict=True):
        values = matrix[:, position]
        missing = np.isnan(values)
        wrong, expected = np.abs(values) > _LARGEST, f"a number up to {_LARGEST:.2g}"
        if feature.type == "long":
            wrong |= ~missing & (values != np.floor(values))
            expected = "a whole number"
        elif feature.type == "boolean":
            wrong = ~missing & (values != 0) & (values != 1)
            expected = "true or false"
        faults += [
            Fault.of_value(int(row), feature.name, float(values[row]), expected)
            for row in np.flatnonzero(wrong)
        ]
        faults += _missing_faults(missing, feature)
    return faults


def check_type(kind: pa.DataType, feature: Feature) -> None:
    """Raise InputError when a typed file's column cannot hold a feature's values."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    truth = pa.types.is_boolean(kind)
    fits = {"double": number, "long": number, "boolean": truth or number, "string": text}[feature.type]
    if not (fits or pa.types.is_null(kind)):
        raise InputError(f"Column {feature.name!r}: its type is {kind}, a {feature.type} column expected.")


def _missing_faults(missing: NDArray[np.bool_], feature: Feature) -> list[Fault]:
    if feature.nullable:
        return []
    reason = f"no value given, a {feature.type} expected"
    return [Fault(int(row), feature.name, reason) for row in np.flatnonzero(missing)]


def _from_text(column: pa.Array, feature: Feature, faults: list[Fault]) -> NDArray[np.float64]:
    """Codes of categories, or 0 and 1; spaces around a text do not count."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    truth = feature.categories is None
    index = _TRUTH if truth else {text: float(code) for code, text in enumerate(feature.categories or ())}
    texts = column.dictionary.to_pylist()
    trimmed = ["" if text is None else text.strip() for text in texts]
    codes = np.array([*(index.get(text, np.nan) for text in trimmed), np.nan])
    no_value = np.array([*(text in _MISSING and text not in index for text in trimmed), True])
    positions = to_numbers(column.indices)
    places = np.where(np.isnan(positions), len(texts), positions).astype(np.int64)
    values, missing = codes[places], no_value[places]
    if truth:
        for row in np.flatnonzero(np.isnan(values) & ~missing):
            faults.append(Fault.of_value(int(row), feature.name, texts[places[row]], "true or false"))
    faults += _missing_faults(missing, feature)
    return values
