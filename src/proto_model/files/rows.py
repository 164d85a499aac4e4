"""A file's columns as the features of the coded matrix, with every value that does not fit named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import read_arrow, to_numbers
from proto_model.values import RuleBook, fault_text

_SHOWN = 20


@dataclass(frozen=True)
class ColumnPlan:
    """The columns of a file that are read; names in the file may have spaces around them."""

    features: dict[str, str]  # feature to name in the file, for each that the file has
    passthrough: dict[str, str]  # the same for columns that are copied to the output
    absent: tuple[str, ...]  # nullable features that the file does not have; missing in every row

    @property
    def needed(self) -> list[str]:
        """Names in the file of all columns that are read, each once."""
        return list(dict.fromkeys([*self.features.values(), *self.passthrough.values()]))


def plan_columns(
    names: Sequence[str], schema: ModelSchema, passthrough: Sequence[str], max_columns: int
) -> ColumnPlan:
    """Match a file's columns to the schema, by name and in any order; other columns are left out.

    Raises InputError if a needed column is missing or appears twice.
    """
    if len(names) > max_columns:
        raise InputError(f"The file has {len(names)} columns. The limit is {max_columns}.")
    present = {name.strip(): name for name in names}
    wanted = [*schema.feature_names, *passthrough]
    counts = Counter(name.strip() for name in names)
    twice = [name for name in dict.fromkeys(wanted) if counts[name] > 1]
    if twice:
        raise InputError(f"Columns that appear more than once in the file: {_list(twice)}.")
    missing = [f.name for f in schema.features if f.name not in present and not f.nullable]
    missing += [name for name in passthrough if name not in present and name not in missing]
    if missing or not any(name in present for name in schema.feature_names):
        missing = missing or schema.feature_names
        raise InputError(f"Columns missing in the file: {_list(missing)}. It has {_list(list(present))}.")
    return ColumnPlan(
        features={name: present[name] for name in schema.feature_names if name in present},
        passthrough={name: present[name] for name in passthrough},
        absent=tuple(name for name in schema.feature_names if name not in present),
    )


def _list(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row."""

    row: int  # position in its block
    column: str  # nothing when the whole row is wrong
    reason: str

    def __str__(self) -> str:
        """As a message without the place of the row."""
        return f"column {self.column!r}: {self.reason}" if self.column else self.reason


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, ready to be scored."""

    matrix: NDArray[np.float64]  # (n_rows, n_features), coded as `proto_model.values` says
    passthrough: list[pa.Array]  # columns to copy, in the order of the request
    faults: list[Fault] = field(default_factory=list)  # by row
    # Line within the block on which each row of a text file begins; None where there are no faults.
    lines: NDArray[np.int64] | None = None
    n_lines: int = 0  # of the block
    is_json: bool = False  # whether the columns to copy hold JSON text


def coded_matrix(
    columns: Mapping[str, pa.Array],
    book: RuleBook,
    n_rows: int,
    matrix: NDArray[np.float64] | None = None,
    filled: Sequence[int] = (),
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Coded matrix of Arrow columns, by feature, and the faults in them, by row and then by feature.

    A feature without a column is missing in every row. `filled` are the columns of a matrix given that hold
    their numbers already.
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
