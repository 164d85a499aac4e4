"""What each column of a table is: number, truth value, category, date, or something a forest cannot use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.table.arrow_values import is_text, to_numbers, without_markers
from proto_model.values import LARGEST

ColumnType = Literal["double", "long", "boolean", "string", "date", "datetime", "text", "other"]

_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})( \d{1,2}:\d{2}.*)?"
)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `values` has shape (n_rows,): numbers, truth values as 0 and 1, or indices into `texts`, which are the
    distinct texts of a column that holds no numbers; NaN where a value is missing. Dates are read as texts;
    as features, they are numbers. `known` are the terms of a text that count, or the levels of a category
    that do, where these are not all.
    """

    name: str
    type: ColumnType
    values: NDArray[np.float64]
    texts: NDArray[np.object_] | None = None
    known: tuple[str, ...] | None = None

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where no value is."""
        return np.isnan(self.values)

    def rows(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Column:
        """The same column for some of the rows."""
        return replace(self, values=self.values[index])

    def objects(self) -> NDArray[np.object_]:
        """Text of each row, None where it is missing."""
        assert self.texts is not None
        codes = np.where(self.missing, len(self.texts), self.values).astype(np.int64)
        return np.append(self.texts, [None])[codes]


def check_known(name: str, names: Sequence[str], shown: str, use: str) -> None:
    """Raise a DataError if a column that is to be used is none of the table's; `shown` names the table."""
    if name not in names:
        raise DataError(f"{shown} has no column {name!r} to {use}. {hint(name, names)}")


def hint(name: str, names: Sequence[str]) -> str:
    """The column that was perhaps meant, else the columns that there are."""
    near = get_close_matches(name, names, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Its columns are {listed(names, 50)}."


def read_columns(table: pa.Table) -> list[Column]:
    """Columns of an Arrow table, typed.

    Integers are `long`, other numbers `double`; the storage decides, so that a column of 1.0 and 2.0
    stays one that takes 1.5. Text whose every value is a date counts as one. A DataError says that a number
    is infinite, or too large for the 32 bits that forests compare in.
    """
    return [_read(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]


def _read(name: str, column: pa.ChunkedArray) -> Column:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _read(name, column.cast(kind.value_type))
    if pa.types.is_boolean(kind):
        return Column(name, "boolean", to_numbers(column.combine_chunks()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = to_numbers(column.combine_chunks())
        n_too_large = int((np.abs(values) > LARGEST).sum())
        if n_too_large:
            raise DataError(
                f"Column {name!r}: {n_too_large} values are infinite or beyond {LARGEST:.2g}. "
                "Leave such cells empty, or rescale the column."
            )
        return Column(name, "long" if pa.types.is_integer(kind) else "double", values)
    if pa.types.is_null(kind):
        return Column(name, "double", np.full(len(column), np.nan))
    if is_text(kind):
        values, texts = _distinct(without_markers(column.cast(pa.large_string())))
        are_dates = len(texts) > 0 and all(_DATE.fullmatch(text) for text in texts)
        return Column(name, "date" if are_dates else "string", values, texts)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return Column(name, "date", *_distinct(column.cast(pa.large_string())))
    shown = [None if value is None else str(value) for value in column.to_pylist()]
    return Column(name, "other", *_distinct(pa.chunked_array([pa.array(shown, pa.large_string())])))


def _distinct(text: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Index of each text among the distinct ones, which are sorted; NaN where null."""
    coded = text.combine_chunks().dictionary_encode()
    texts = np.array(coded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(texts)
    rank = np.empty(len(texts) + 1)
    rank[order] = np.arange(len(texts))
    rank[-1] = np.nan  # where the index of a null, -1, leads
    return rank[pc.fill_null(coded.indices, -1).to_numpy()], texts[order]
