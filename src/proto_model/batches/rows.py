"""Columns of Arrow as the features of the coded matrix, with every value that does not fit named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.batches.arrays import python_value
from proto_model.errors import InputError, listed
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import read_arrow, to_numbers
from proto_model.values import RuleBook, fault_text

T = TypeVar("T")

_SHOWN = 20
_MOST_REASONS = 3
_CHECK_EVERY = 256


@dataclass(frozen=True)
class ColumnPlan:
    """The columns of a file or of another carrier that are read; names there may have spaces around them."""

    features: dict[str, str]  # feature to name in the file, for each that the file has
    passthrough: dict[str, str]  # the same for columns that are copied to the output
    absent: tuple[str, ...]  # nullable features that the file does not have; missing in every row
    extra: tuple[str, ...] = ()  # columns that are left out, as far as they were seen

    @property
    def needed(self) -> list[str]:
        """Names in the file of all columns that are read, each once."""
        return list(dict.fromkeys([*self.features.values(), *self.passthrough.values()]))


def column_notes(absent: Sequence[str], extra: Sequence[str], carrier: str = "file") -> list[str]:
    """What is said of features that a carrier does not have, and of its columns that are left out."""
    notes = [f"column {name!r} is not in the {carrier}; taken as missing in every row" for name in absent]
    if extra:
        what = f"{len(extra)} columns are no features" if len(extra) > 1 else "a column is not a feature"
        notes.append(f"{what}; left out: {listed(extra)}")
    return notes


def plan_columns(
    names: Sequence[str],
    schema: ModelSchema,
    passthrough: Sequence[str],
    max_columns: int,
    carrier: str = "file",
) -> ColumnPlan:
    """Match the columns of a file, or of another carrier, to the schema, by name and in any order.

    Other columns are left out. Raises InputError if a needed column is missing or appears twice.
    """
    if len(names) > max_columns:
        raise InputError(f"The {carrier} has {len(names)} columns. The limit is {max_columns}.")
    present = {name.strip(): name for name in names}
    wanted = dict.fromkeys([*schema.feature_names, *passthrough])
    counts = Counter(name.strip() for name in names)
    twice = [name for name in wanted if counts[name] > 1]
    if twice:
        raise InputError(f"Columns that appear more than once in the {carrier}: {_list(twice)}.")
    missing = [f.name for f in schema.features if f.name not in present and not f.nullable]
    missing += [name for name in passthrough if name not in present and name not in missing]
    if missing or not any(name in present for name in schema.feature_names):
        missing = missing or schema.feature_names
        raise InputError(
            f"Columns missing in the {carrier}: {_list(missing)}. It has {_list(list(present))}."
        )
    return ColumnPlan(
        features={name: present[name] for name in schema.feature_names if name in present},
        passthrough={name: present[name] for name in passthrough},
        absent=tuple(name for name in schema.feature_names if name not in present),
        extra=tuple(name for name in present if name not in wanted),
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
        """As a message without the place of the row; half a surrogate pair is no text, so it is spelt out."""
        text = f"column {self.column!r}: {self.reason}" if self.column else self.reason
        return text.encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Watch:
    """What a reader has to think of while it looks at rows one by one, which may take long."""

    check: Callable[[], None] = lambda: None  # called often, by several threads; ends the job by raising
    marking: bool = True  # whether each bad row gets its reasons; else the first one ends the job

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with a check now and then."""
        for number, item in enumerate(items):
            if number % _CHECK_EVERY == 0:
                self.check()
            yield item

    def are_shown(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of many faults anybody will see, by the row of each in ascending order."""
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        return rank < _MOST_REASONS if self.marking else np.arange(len(rows)) == 0

    def shown(self, faults: Iterable[Fault]) -> list[Fault]:
        """Of faults in any order those that anybody will see, by row."""
        ordered = sorted(faults, key=lambda fault: fault.row)
        are_shown = self.are_shown(np.array([fault.row for fault in ordered], dtype=np.int64))
        return list(compress(ordered, are_shown))


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, ready to be scored."""

    matrix: NDArray[np.float64]  # (n_rows, n_features), coded as `proto_model.values` says
    passthrough: list[pa.Array]  # columns to copy, in the order of the request
    faults: list[Fault] = field(default_factory=list)  # by row; each bad row's first ones, or only the first
    # Line within the block on which each row of a text file begins; None where there are no faults.
    lines: NDArray[np.int64] | None = None
    n_lines: int = 0  # of the block
    is_json: bool = False  # whether the columns to copy hold JSON text


def coded_matrix(
    columns: Mapping[str, pa.Array],
    book: RuleBook,
    n_rows: int,
    watch: Watch,
    matrix: NDArray[np.float64] | None = None,
    filled: Sequence[int] = (),
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Coded matrix of Arrow columns, by feature, and the faults in them, by row and then by feature.

    A feature without a column is missing in every row. `filled` are the columns of a matrix given that hold
    their numbers already.
    """
    if matrix is None:
        matrix = np.empty((n_rows, len(book.rules)))
    found: dict[int, tuple[NDArray[np.uint8], Any]] = {}
    numbers = list(filled)
    for position, rule in enumerate(book.rules):
        column = columns.get(rule.feature.name)
        if position in filled:
            continue
        if column is None:
            matrix[:, position], fault = rule.missing
            if fault:
                found[position] = np.full(n_rows, fault, np.uint8), None
        elif rule.takes_numbers and pa.types.is_floating(column.type):
            matrix[:, position] = to_numbers(column)
            numbers.append(position)
        else:
            matrix[:, position], faults = read_arrow(column, rule)
            found[position] = faults, column
    if numbers and n_rows and not book.accepts(matrix):
        for position in numbers:
            values = matrix[:, position]
            found[position] = book.rules[position].number_faults(values), values
    return matrix, _named(found, book, watch)


def _named(found: Mapping[int, tuple[NDArray[np.uint8], Any]], book: RuleBook, watch: Watch) -> list[Fault]:
    """Faults in words, by row and then by feature, of codes for each feature's rows and what was given there.

    A block of two megabytes can have as many faults, so none is put into words that nobody will see, and a
    value that is many rows' is put into words once.
    """
    places = {position: np.flatnonzero(codes) for position, (codes, _) in found.items()}
    positions = np.repeat(list(places), [len(rows) for rows in places.values()]).astype(np.int64)
    rows = np.concatenate([*places.values(), np.empty(0, np.int64)])
    order = np.lexsort((positions, rows))
    order = order[watch.are_shown(rows[order])]
    known: dict[tuple[int, int, int], str] = {}
    faults = []
    for row, position in watch.each(zip(rows[order].tolist(), positions[order].tolist(), strict=True)):
        (codes, values), feature = found[position], book.rules[position].feature
        code = int(codes[row])
        index = values.indices[row].as_py() if isinstance(values, pa.DictionaryArray) else None
        reason = None if index is None else known.get((position, code, index))
        if reason is None:
            value = None if values is None else values[row]
            value = python_value(value) if isinstance(value, pa.Scalar) else value
            reason = fault_text(value, feature, code)
        if index is not None:
            known[position, code, index] = reason
        faults.append(Fault(row, feature.name, reason))
    return faults
