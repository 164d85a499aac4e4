"""Rows as parsed JSON, straight into the coded matrix.

Rows that are as they should be take a short way: their numbers are packed as doubles in C, which refuses
strings and nulls, and what remains is asked of the whole matrix at once. All others take the long way through
`proto_model.model.request`, which decides and finds the words. Both accept the same rows and code them the
same way.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.model.column import Expectation
from proto_model.model.request import coded_rows
from proto_model.schema import ModelSchema

__all__ = ["RowReader", "refuse_repeated"]

Matrix = NDArray[np.float64]

# What packing, picking and looking up say of rows that need the long way.
_UNUSUAL = (struct.error, KeyError, IndexError, TypeError, ValueError, OverflowError)


class RowReader:
    """Reads the rows of one schema; safe to share between threads.

    Parameters
    ----------
    schema : ModelSchema
        What the model takes.
    """

    def __init__(self, schema: ModelSchema) -> None:
        self.schema = schema
        self._names = schema.feature_names
        self._pack = struct.Struct(f"{len(self._names)}d").pack
        self._of_record = _getter(self._names)
        self._last_columns: tuple[list[str], Any] = (self._names, None)
        features = schema.features
        self._codes: list[tuple[int, dict[str | None, float]]] = []
        for position, feature in enumerate(features):
            if feature.categories is not None:
                index: dict[str | None, float] = {c: float(i) for i, c in enumerate(feature.categories)}
                if feature.nullable:
                    index[None] = math.nan
                self._codes.append((position, index))
        self._expectation = Expectation.of(schema)
        self._any_finite_will_do = all(f.type == "double" and not f.nullable for f in features)
        self._is_number = np.array([feature.type in ("double", "long") for feature in features])

    def table(self, columns: Any, rows: Any) -> Matrix:
        """Coded matrix of rows that are lists, below a list of column names.

        Raises
        ------
        InputError
            As for `coded_rows`, or if a row is not a list as long as the names.
        """
        if not isinstance(rows, list):
            raise InputError(f"data is {_kind(rows)}, a list of rows expected, each a list of values.")
        if not rows:
            return self._nothing()
        if not isinstance(columns, list):
            raise InputError(
                f"columns is {_kind(columns)}, a list of names expected, such as {self._names[:3]}."
            )
        if set(map(type, rows)) == {list} and set(map(len, rows)) == {len(columns)}:
            matrix = self._quick_table(columns, rows)
            if matrix is not None:
                return matrix
        return self._slow_table(columns, rows)

    def records(self, records: Sequence[Mapping[str, Any]]) -> Matrix:
        """Coded matrix of rows that are mappings of column name to value."""
        try:
            matrix = self._coded(list(map(self._of_record, records)))
        except _UNUSUAL:
            matrix = None
        return coded_rows(records, self.schema) if matrix is None else matrix

    def columns(self, columns: Mapping[str, Any]) -> Matrix:
        """Coded matrix of a mapping of column name to list of values, or to one value each."""
        try:
            lists = self._of_record(columns)
            matrix = None
            if set(map(type, lists)) == {list}:
                matrix = self._coded(list(zip(*lists, strict=True)))
        except _UNUSUAL:
            matrix = None
        return coded_rows(columns, self.schema) if matrix is None else matrix

    def _nothing(self) -> Matrix:
        return np.empty((0, len(self._names)))

    def _quick_table(self, columns: list[str], rows: list[list[Any]]) -> Matrix | None:
        """Matrix of rows as long as the names; None if they need a closer look."""
        known, pick = self._last_columns
        try:
            if columns != known:
                if len(set(columns)) != len(columns):
                    return None
                same = columns == self._names
                pick = None if same else _getter([columns.index(name) for name in self._names])
                self._last_columns = (columns, pick)
            return self._coded(rows if pick is None else list(map(pick, rows)))
        except _UNUSUAL:
            return None

    def _slow_table(self, columns: list[Any], rows: list[Any]) -> Matrix:
        """Matrix of any rows."""
        for number, row in enumerate(rows):
            if not isinstance(row, list):
                raise InputError(f"Row {number} is {_kind(row)}, a list of values expected.")
            if len(row) != len(columns):
                raise InputError(f"Row {number} has {len(row)} values, {len(columns)} columns are named.")
        names = [name if isinstance(name, str) else repr(name) for name in columns]
        refuse_repeated(names, self.schema)
        values = map(list, zip(*rows, strict=True))
        return coded_rows(dict(zip(names, values, strict=True)), self.schema)

    def _coded(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        """Matrix of rows in the schema's order; None, or one of `_UNUSUAL`, if they need a closer look."""
        if not rows:
            return None
        numbers = self._without_texts(rows) if self._codes else rows
        try:
            data = bytearray().join(starmap(self._pack, numbers))
        except struct.error:
            if self._any_finite_will_do:
                return None
            data = bytearray().join(starmap(self._pack, map(_nulls_as_nan, numbers)))
        matrix = np.frombuffer(data, dtype=np.float64).reshape(len(rows), -1)
        if self._any_finite_will_do:
            if not np.isfinite(matrix).all():
                return None
        elif self._expectation.unmet(matrix).any():
            return None
        return None if self._holds_truth(rows, matrix) else matrix

    def _without_texts(self, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Rows with codes in the place of known categories."""
        coded = []
        for row in rows:
            values = list(row)
            for position, index in self._codes:
                values[position] = index[values[position]]
            coded.append(values)
        return coded

    def _holds_truth(self, rows: Sequence[Sequence[Any]], matrix: Matrix) -> bool:
        """Whether true or false, which pack as 1 and 0, stand where a number should."""
        if len(rows) == 1:
            row = rows[0]
            if bool not in map(type, row):
                return False
        suspects = np.argwhere(((matrix == 0) | (matrix == 1)) & self._is_number).tolist()
        return any(type(rows[row][column]) is bool for row, column in suspects)


def refuse_repeated(names: Sequence[str], schema: ModelSchema) -> None:
    """Raise an InputError that names the features given more than once."""
    wanted = set(schema.feature_names)
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name in wanted)
    if twice:
        raise InputError(
            f"Columns given more than once: {', '.join(map(repr, twice))}. Send each of them once."
        )


def _getter(keys: Sequence[Any]) -> Any:
    """Function that picks the values of several keys as a tuple."""
    return itemgetter(*keys) if len(keys) > 1 else lambda row: (row[keys[0]],)


def _nulls_as_nan(row: Sequence[Any]) -> list[Any]:
    return [math.nan if value is None else value for value in row]


def _kind(value: Any) -> str:
    """JSON's name for the type of a value.

    Examples
    --------
    >>> _kind({}), _kind(None)
    ('an object', 'null')
    """
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
