"""Columns of a file as the coded matrix, with every value that does not fit named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.table.arrow_values import read_arrow, to_numbers
from proto_model.values import RuleBook, fault_text

__all__ = ["Fault", "Rows", "coded_matrix"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row.

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


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, ready to be scored.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        Coded as `proto_model.values` says.
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
    book: RuleBook,
    n_rows: int,
    matrix: NDArray[np.float64] | None = None,
    filled: Sequence[int] = (),
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Coded matrix of Arrow columns, and what in them does not fit the schema.

    Parameters
    ----------
    columns : mapping of str to pyarrow.Array
        Per feature: numbers, booleans or text, also dictionary-encoded. A feature without a column is missing
        in every row.
    book : RuleBook
        Of the schema.
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
        By row, and in a row by feature.
    """
    if matrix is None:
        matrix = np.empty((n_rows, len(book.rules)))
    found: list[tuple[int, int, Fault]] = []

    def add(position: int, faults: NDArray[np.uint8], values: Any) -> None:
        feature = book.rules[position].feature
        for row in np.flatnonzero(faults).tolist():
            value = values[row].as_py() if isinstance(values, pa.Array) else values[row]
            fault = Fault(row, feature.name, fault_text(value, feature, int(faults[row])))
            found.append((row, position, fault))

    numbers = list(filled)
    for position, rule in enumerate(book.rules):
        column = columns.get(rule.feature.name)
        if position in filled:
            continue
        if column is None:
            matrix[:, position], fault = rule.missing
            add(position, np.full(n_rows, fault, np.uint8), [None] * n_rows)
        elif not rule.is_category and pa.types.is_floating(column.type):
            matrix[:, position] = to_numbers(column)
            numbers.append(position)
        else:
            matrix[:, position], faults = read_arrow(column, rule)
            add(position, faults, column)
    if numbers and n_rows and not book.accepts(matrix):
        for position in numbers:
            values = matrix[:, position]
            add(position, book.rules[position].number_faults(values), values)
    return matrix, [fault for _, _, fault in sorted(found, key=lambda item: item[:2])]
