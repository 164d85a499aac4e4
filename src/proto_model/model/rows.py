"""Rows of a request as a coded matrix, or one error that names all that is wrong with them.

`coded_rows` takes whatever MLflow makes of JSON, CSV or Parquet: data frames, dictionaries of arrays or
lists, lists of records, rows without names. `RowReader` takes parsed JSON, and knows a short way for rows
without faults: their numbers are packed as doubles in C, which refuses strings and nulls, and what remains is
asked of the whole matrix at once. All others take the long way through `coded_rows`; both accept the same
rows and code them the same way. Named columns come in any order, further ones are ignored, and a nullable
feature may be absent.

MLflow makes NumPy arrays of `inputs` by column, of `instances` and of rows without names before any model
sees them, and NumPy gives all values of a column, or of such rows, one type. Where several mix strings with
numbers or booleans, all have become strings, and where they mix numbers with booleans, all numbers. MLflow's
own server also reads a CSV body by pandas, which turns texts of a category that look like numbers, booleans
or missing values into these (`007` becomes 7). What is not text any more is refused for a category, never
taken for another one. All other carriers keep every value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError, counted, listed
from proto_model.model.columns import columns_of, kind_of, needs_names, refuse_repeated, refuse_unnamed
from proto_model.schema import Feature, ModelSchema
from proto_model.values import Rule, RuleBook, expected, fault_text, plain_numbers

MAX_FAULTS = 20

Matrix = NDArray[np.float64]

# What packing, picking and looking up say of rows that need the long way.
_UNUSUAL = (struct.error, KeyError, IndexError, TypeError, ValueError, OverflowError)


class RowReader:
    """Reads the rows of one schema; safe to share between threads."""

    def __init__(self, schema: ModelSchema) -> None:
        self.schema = schema
        self._book = RuleBook(schema)
        self._names = schema.feature_names
        self._pack = struct.Struct(f"{len(self._names)}d").pack
        self._of_record = _getter(self._names)
        self._last_columns: tuple[list[str], Any] = (self._names, None)
        self._codes: list[tuple[int, dict[str | None, float]]] = []
        for position, rule in enumerate(self._book.rules):
            if not rule.takes_numbers:
                codes: dict[str | None, float] = (
                    dict(rule.codes.items()) if rule.is_category else _CodesOfTexts(rule)
                )
                if rule.feature.nullable:
                    codes[None] = math.nan
                self._codes.append((position, codes))
        self._needs_names = needs_names(schema)
        self._is_number = np.array([feature.type in ("double", "long") for feature in schema.features])

    def table(self, columns: Any, rows: Any) -> Matrix:
        """Coded matrix of rows that are lists, below a list of column names.

        Raises
        ------
        InputError
            As for `coded_rows`, or if a row is not a list as long as the names.
        """
        if not isinstance(rows, list):
            raise InputError(f"data is {kind_of(rows)}, a list of rows expected, each a list of values.")
        if not rows:
            return np.empty((0, len(self._names)))
        if not isinstance(columns, list):
            raise InputError(
                f"columns is {kind_of(columns)}, a list of names expected, such as {self._names[:3]}."
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
        return _coded_rows(records, self._book) if matrix is None else matrix

    def columns(self, columns: Mapping[str, Any]) -> Matrix:
        """Coded matrix of a mapping of column name to values, or to one value each.

        Lists may take the short way, and so may a row of CSV; other tuples and arrays take the long one.
        """
        try:
            lists = self._of_record(columns)
            matrix = None
            types = set(map(type, lists))
            if types == {list} or (types == {tuple} and len(lists[0]) == 1):
                matrix = self._coded(list(zip(*lists, strict=True)))
        except _UNUSUAL:
            matrix = None
        return _coded_rows(columns, self._book) if matrix is None else matrix

    def matrix(self, rows: Sequence[Any]) -> Matrix:
        """Coded matrix of at least one row without names: a list of values in the schema's order.

        Raises
        ------
        InputError
            As for `coded_rows`; if a row is not a list of a value per feature; or if the model takes no rows
            without names.
        """
        if self._needs_names:
            refuse_unnamed(self.schema)
        matrix = None
        if set(map(type, rows)) == {list} and set(map(len, rows)) == {len(self._names)}:
            try:
                matrix = self._coded(rows)
            except _UNUSUAL:
                matrix = None
        return _coded_rows(rows, self._book) if matrix is None else matrix

    def tensor(self, values: Sequence[Any] | NDArray[Any], n_rows: int) -> Matrix:
        """The same of an array, or of one value after the other, row by row; there may be no row."""
        if isinstance(values, np.ndarray):
            return _coded_rows(values, self._book)
        width = len(self._names)
        rows = [list(values[start : start + width]) for start in range(0, n_rows * width, width)]
        return self.matrix(rows) if rows else np.empty((0, width))

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
        for number, row in enumerate(rows):
            if not isinstance(row, list):
                raise InputError(f"Row {number} is {kind_of(row)}, a list of values expected.")
            if len(row) != len(columns):
                raise InputError(
                    f"Row {number}: {len(row)} given, {len(columns)} values expected, one per column."
                )
        names = [name if isinstance(name, str) else repr(name) for name in columns]
        refuse_repeated(names, self.schema)
        if not columns:  # no column could tell how many rows there are
            return _coded_rows([{}] * len(rows), self._book)
        values = map(list, zip(*rows, strict=True))
        return _coded_rows(dict(zip(names, values, strict=True)), self._book)

    def _coded(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        """Matrix of rows in the schema's order; None, or one of `_UNUSUAL`, if they need a closer look."""
        if not rows:
            return None
        numbers = self._without_texts(rows) if self._codes else rows
        try:
            data = bytearray().join(starmap(self._pack, numbers))
        except struct.error:  # several rows of texts are read faster by columns, the long way
            fill = plain_numbers if len(rows) == 1 else _nulls_as_nan
            data = bytearray().join(starmap(self._pack, map(fill, numbers)))
        matrix = np.frombuffer(data, dtype=np.float64).reshape(len(rows), -1)
        return matrix if self._book.accepts(matrix) and not self._holds_truth(rows, matrix) else None

    def _without_texts(self, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Rows with codes in the place of known categories, dates and texts."""
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


class _CodesOfTexts(dict[str | None, float]):
    """Codes of dates and texts, read when they are asked for; a KeyError for what needs a closer look."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._read = rule.read_text

    def __missing__(self, text: Any) -> float:
        if type(text) is not str:
            raise KeyError
        code, fault = self._read(text)
        if fault:
            raise KeyError
        return code


def coded_rows(data: Any, schema: ModelSchema) -> Matrix:
    """Coded matrix of the rows of a request.

    Parameters
    ----------
    data : DataFrame, mapping of str to array, list or tuple, or sequence of mappings
        The rows; a mapping of scalars is one row.
    schema : ModelSchema
        What the model takes.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        C-contiguous float64, coded as `proto_model.values` says.

    Raises
    ------
    InputError
        If anything is wrong; names every row and column, what was given and what is accepted, at most
        `MAX_FAULTS` times, with a count of the rest.
    """
    return _coded_rows(data, RuleBook.of(schema))


def _coded_rows(data: Any, book: RuleBook) -> Matrix:
    schema = book.schema
    columns, n_rows = columns_of(data, schema)
    if isinstance(columns, np.ndarray):
        if n_rows == 0 or book.accepts(columns):
            return columns
        columns = dict(zip(schema.feature_names, columns.T, strict=True))
    matrix = np.empty((n_rows, len(schema.features)))
    if n_rows == 0:
        return matrix
    absent: list[Feature] = []
    found: list[tuple[int, int, str]] = []
    n_found = 0
    for position, rule in enumerate(book.rules):
        feature = rule.feature
        values = columns.get(feature.name)
        if values is None:
            matrix[:, position] = np.nan
            if not feature.nullable:
                absent.append(feature)
            continue
        if len(values) != n_rows:
            raise InputError(
                f"Column {feature.name!r}: {len(values)} given, {n_rows} values expected, as in the columns "
                "before it."
            )
        if n_rows == 1:  # a tenth of the time that columns of one value take
            matrix[0, position], fault = rule.read(values[0])
            bad = [0] if fault else []
            faults: Any = [fault]
        else:
            matrix[:, position], faults = rule.read_column(values)
            bad = np.flatnonzero(faults).tolist()
        n_found += len(bad)
        for row in bad[:MAX_FAULTS]:
            words = fault_text(values[row], feature, int(faults[row]))
            found.append((row, position, f"row {row}, column {feature.name!r}: {words}"))
    if absent or found:
        raise _as_error([words for _, _, words in sorted(found)], n_found, absent)
    return matrix


def _as_error(sentences: Sequence[str], n_found: int, absent: Sequence[Feature]) -> InputError:
    """One error for all faults: the first wrong values, and in one line the columns that are missing."""
    lines = [*sentences[:MAX_FAULTS]]
    if n_found > len(lines):
        lines.append(f"and {n_found - len(lines)} more")
    if len(absent) == 1:
        lines.append(f"column {absent[0].name!r} is missing from every row, {expected(absent[0])}")
    elif absent:
        names = listed([feature.name for feature in absent])
        lines.append(f"{len(absent)} columns are missing from every row: {names}")
    count = counted(n_found + len(absent), "fault")
    return InputError(f"{count} in the request (rows count from 0):\n" + "\n".join(lines))


def _getter(keys: Sequence[Any]) -> Any:
    """Function that picks the values of several keys as a tuple."""
    return itemgetter(*keys) if len(keys) > 1 else lambda row: (row[keys[0]],)


def _nulls_as_nan(row: Sequence[Any]) -> list[Any]:
    return [math.nan if value is None else value for value in row]
