"""From coded matrices to what a forest has learned from: plain arrays that say how each column comes about.

A forest's column is a function of one column of the coded matrix: the column itself, with missing values
filled or scaled, whether it is missing, a number per category, a part or the age of a date, whether a text
has a term. A model without an expansion takes the coded matrix as it is.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from datetime import date
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.npz import read_arrays, whole_number
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, ModelSchema

if TYPE_CHECKING:
    from proto_model.forest.engine import CompiledForest

__all__ = ["EXPANSION_FILE", "ExpandedForest", "Expansion", "Op", "Step"]

EXPANSION_FILE = "expansion.npz"
FORMAT_VERSION = 2
"""Written of expansions with scaled columns only: releases that read the first one know all the others."""

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_FEW_ROWS = 4  # up to here, Python's floats are faster than NumPy's arrays
_PART_ROWS = 65_536


class Op(IntEnum):
    """How a column of the forest comes about."""

    IDENTITY = 0
    FILL = 1  # `value` where it is missing
    IS_MISSING = 2
    LOOKUP = 3  # the code's place in the table, whose last number is for a missing one
    YEAR = 4
    MONTH = 5
    DAY = 6
    WEEKDAY = 7  # Monday is 0
    HOUR = 8
    AGE = 9  # days from the date to `value`
    TERM = 10  # the bit number `value`
    SHIFTED = 11  # minus the first number of the table, divided by the second; the third where it is missing
    SCALED = 12  # times the first number of the table, plus the second; the third where it is missing


_SCALINGS = (Op.SHIFTED, Op.SCALED)
_DATE_PARTS = (Op.YEAR, Op.MONTH, Op.DAY, Op.WEEKDAY, Op.HOUR)


@dataclass(frozen=True)
class Step:
    """One column of the forest."""

    source: int  # column of the coded matrix
    op: Op
    value: float = 0.0
    table: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Expansion:
    """All columns of the forest; `table[start[j] : start[j + 1]]` is the table of the column `j`.

    A date's column counts units of `unit` seconds since 1970; 0 for what is no date.
    """

    source: NDArray[np.int64]
    op: NDArray[np.int64]
    value: NDArray[np.float64]
    unit: NDArray[np.int64]
    start: NDArray[np.int64]
    table: NDArray[np.float64]

    @classmethod
    def of(cls, steps: list[Step], schema: ModelSchema) -> Expansion:
        """Expansion of a schema's coded matrices."""
        tables = [step.table for step in steps]
        return cls(
            source=np.array([step.source for step in steps], dtype=np.int64),
            op=np.array([step.op for step in steps], dtype=np.int64),
            value=np.array([step.value for step in steps], dtype=np.float64),
            unit=np.array([_unit(schema.features[step.source]) for step in steps], dtype=np.int64),
            start=np.cumsum([0, *map(len, tables)], dtype=np.int64),
            table=np.array([number for table in tables for number in table], dtype=np.float64),
        )

    @classmethod
    def load(cls, path: Path, schema: ModelSchema) -> Expansion:
        """Expansion of a file; ArtifactError if it is damaged or does not fit the schema."""
        names = [field.name for field in fields(cls)]
        arrays = read_arrays(path, "an expansion", ["version", *names])
        if whole_number(arrays["version"], 0, 2**62) not in range(1, FORMAT_VERSION + 1):
            raise ArtifactError(
                f"{path} has format version {arrays['version']}, but this release reads 1 to "
                f"{FORMAT_VERSION}. Use the release that wrote the model."
            )
        expansion = cls(**{name: arrays[name] for name in names})
        fault = expansion.fault(schema)
        if fault:
            raise ArtifactError(f"{path} is damaged or of another model: {fault}. Log the model again.")
        return expansion

    def save(self, path: Path) -> None:
        """Write the arrays to an `.npz` file."""
        version = FORMAT_VERSION if np.isin(self.op, _SCALINGS).any() else 1
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, version=np.int64(version), **self.arrays())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def fault(self, schema: ModelSchema) -> str | None:
        """What is wrong with the arrays for a schema, or None."""
        for field in fields(self):
            array, whole = getattr(self, field.name), field.name not in ("value", "table")
            if array.dtype != (np.int64 if whole else np.float64) or array.ndim != 1:
                return f"{field.name} is {array.dtype} of shape {array.shape}"
            # A category may look like a missing number to a forest.
            if not whole and not (np.isfinite(array) | (np.isnan(array) & (field.name == "table"))).all():
                return f"{field.name} holds numbers that are not finite"
        n_columns, n_features = len(self.source), len(schema.features)
        if not n_columns or {len(self.op), len(self.value), len(self.unit), len(self.start) - 1} != {
            n_columns
        }:
            return "its arrays differ in length"
        if self.source.min() < 0 or self.source.max() >= n_features:
            return f"its columns are not within 0..{n_features - 1}"
        if self.start[0] != 0 or self.start[-1] != len(self.table) or (np.diff(self.start) < 0).any():
            return "its tables do not follow each other"
        for source, op, value, unit, table in zip(
            self.source.tolist(), self.op.tolist(), self.value.tolist(), self.unit.tolist(),
            np.split(self.table, self.start[1:-1]), strict=True,
        ):  # fmt: skip
            feature = schema.features[source]
            if op not in set(Op) or unit != _unit(feature) or not _fits(Op(op), value, table, feature):
                return f"column {feature.name!r} of type {feature.type!r} has no {_name(op)} as given"
        return None

    @property
    def n_columns(self) -> int:
        """Columns that the forest sees."""
        return len(self.source)

    def __call__(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the forest sees of a coded matrix, C-contiguous."""
        if 0 < len(X) <= _FEW_ROWS:
            return np.array([self._row(row) for row in X.tolist()])
        out = np.empty((len(X), self.n_columns))
        parts: dict[int, dict[Op, NDArray[np.float64]]] = {}
        masks: dict[int, _Masks] = {}
        for place, (source, op, value, unit, table) in enumerate(self._steps):
            column = X[:, source]
            if op in _DATE_PARTS:
                known = parts.get(source)
                if known is None:
                    known = parts[source] = _parts_of(column, unit)
                out[:, place] = known[op]
            elif op is Op.TERM:
                if source not in masks:
                    masks[source] = _Masks.of(column)
                out[:, place] = masks[source].bit(int(value))
            else:
                out[:, place] = _computed(column, op, value, unit, self.table[table[0] : table[1]])
        return out

    @cached_property
    def _steps(self) -> list[tuple[int, Op, float, int, tuple[int, int]]]:
        columns = (self.source.tolist(), map(Op, self.op.tolist()), self.value.tolist(), self.unit.tolist())
        return list(zip(*columns, pairwise(self.start.tolist()), strict=True))

    @cached_property
    def _groups(self) -> list[tuple[tuple[int, Op, float, int, tuple[int, int]], list[int]]]:
        """The steps, with the terms of a text that follow each other as one step of many bits."""
        groups: list[tuple[tuple[int, Op, float, int, tuple[int, int]], list[int]]] = []
        for step in self._steps:
            source, op, value, *_ = step
            if op is Op.TERM and groups and groups[-1][0][:2] == (source, op):
                groups[-1][1].append(int(value))
            else:
                groups.append((step, [int(value)] if op is Op.TERM else []))
        return groups

    @cached_property
    def _numbers(self) -> list[float]:
        numbers: list[float] = self.table.tolist()
        return numbers

    def _row(self, row: list[float]) -> list[float]:
        """One row, number by number; the same arithmetic as for columns, so the same bits."""
        out = []
        parts: dict[int, dict[Op, float]] = {}
        for (source, op, value, unit, (first, end)), bits in self._groups:
            x = row[source]
            if op is Op.IDENTITY:
                out.append(x)
            elif op is Op.IS_MISSING:
                out.append(float(x != x))
            elif op is Op.FILL:
                out.append(value if x != x else x)
            elif op is Op.LOOKUP:
                out.append(self._numbers[end - 1 if x != x else min(max(first + int(x), first), end - 1)])
            elif op is Op.TERM:
                mask = 0 if x != x else int(x)
                out += [x] * len(bits) if x != x else [float(mask >> bit & 1) for bit in bits]
            elif op is Op.AGE:
                out.append((value - x) * unit / _DAY)
            elif op in _SCALINGS:
                out.append(_scaled_one(x, op, self._numbers[first:end]))
            else:
                if source not in parts:
                    parts[source] = _parts_of_one(x, unit)
                out.append(parts[source][op])
        return out


@dataclass(frozen=True, eq=False)
class _Masks:
    """The bits of a column of texts; a missing text has none."""

    bits: NDArray[np.int64]
    missing: NDArray[np.bool_] | None

    @classmethod
    def of(cls, column: NDArray[np.float64]) -> _Masks:
        missing = np.isnan(column)
        if not missing.any():
            return cls(column.astype(np.int64), None)
        return cls(np.where(missing, 0, column).astype(np.int64), missing)

    def bit(self, number: int) -> NDArray[Any]:
        found = self.bits >> number & 1
        return found if self.missing is None else np.where(self.missing, np.nan, found)


def _computed(
    column: NDArray[np.float64], op: Op, value: float, unit: int, table: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A column of the forest that is no part of a date."""
    if op is Op.IDENTITY:
        return column
    if op is Op.AGE:
        return (value - column) * unit / _DAY
    missing = np.isnan(column)
    if op in _SCALINGS:
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float64]
            scaled = (column - table[0]) / table[1] if op is Op.SHIFTED else column * table[0] + table[1]
        return scaled if len(table) == 2 else np.where(missing, table[2], scaled)
    if op is Op.IS_MISSING:
        return missing.astype(np.float64)
    if op is Op.FILL:
        return np.where(missing, value, column)
    codes = np.where(missing, len(table) - 1, column).astype(np.int64)
    found: NDArray[np.float64] = table.take(codes, mode="clip")
    return found


def _scaled_one(x: float, op: Op, table: list[float]) -> float:
    if x != x:
        return table[2] if len(table) == 3 else x
    return (x - table[0]) / table[1] if op is Op.SHIFTED else x * table[0] + table[1]


def _parts_of(column: NDArray[np.float64], unit: int) -> dict[Op, NDArray[np.float64]]:
    """Year, month, day, weekday and hour of the dates of a column, NaN where there is none."""
    missing = ~np.isfinite(column)
    seconds = np.where(missing, 0, column).astype(np.int64) * unit
    days = seconds // _DAY
    # A count of days as year, month and day (H. Hinnant, "chrono-compatible low-level date algorithms").
    shifted = days + 719_468  # since 1 March of the year 0
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = np.where(shifted_month < 10, shifted_month + 3, shifted_month - 9)
    year = year_of_era + era * 400 + (month <= 2)
    found = (year, month, day, (days + 3) % 7, (seconds - days * _DAY) // 3600)
    return {op: np.where(missing, np.nan, part) for op, part in zip(_DATE_PARTS, found, strict=True)}


def _parts_of_one(x: float, unit: int) -> dict[Op, float]:
    """The same of one date."""
    if not math.isfinite(x):
        return dict.fromkeys(_DATE_PARTS, math.nan)
    seconds = int(x) * unit
    days = seconds // _DAY
    try:
        found = date.fromordinal(days + _EPOCH)
    except (ValueError, OverflowError):  # beyond the years that a date may have
        return {op: float(part[0]) for op, part in _parts_of(np.array([x]), unit).items()}
    hour = (seconds - days * _DAY) // 3600
    parts = (found.year, found.month, found.day, (days + 3) % 7, hour)
    return dict(zip(_DATE_PARTS, map(float, parts), strict=True))


def _unit(feature: Feature) -> int:
    return SECONDS_OF.get(feature.type, 0)


def _name(op: int) -> str:
    return Op(op).name if op in set(Op) else f"operation {op}"


def _fits(op: Op, value: float, table: NDArray[np.float64], feature: Feature) -> bool:
    """Whether a column can come about so from a feature."""
    is_date, is_text = feature.type in DATE_TYPES, feature.type == "text"
    if op is Op.LOOKUP:
        return feature.categories is not None and len(table) == len(feature.categories) + 1
    if op in _SCALINGS:
        is_whole = len(table) in (2, 3) and bool(np.isfinite(table).all())
        return is_whole and feature.takes_numbers and (op is Op.SCALED or table[1] != 0)
    if len(table):
        return False
    if op is Op.TERM:
        return is_text and value in range(len(feature.terms or ()))
    if op is Op.HOUR:
        return feature.type == "datetime"
    if op is Op.AGE or op in _DATE_PARTS:
        return is_date
    return op is Op.IS_MISSING or not is_text


class ExpandedForest:
    """A forest behind its expansion; safe to call from several threads."""

    def __init__(self, expansion: Expansion, forest: CompiledForest, n_features: int) -> None:
        if forest.n_features != expansion.n_columns:
            raise ArtifactError(
                f"The forest takes {forest.n_features} columns, its expansion gives {expansion.n_columns}. "
                "Log the model again."
            )
        self.expansion, self.forest = expansion, forest
        self.n_features, self.n_classes = n_features, forest.n_classes

    def predict_proba(self, X: NDArray[np.float64], n_threads: int | None = None) -> NDArray[np.float64]:
        """Probability of each class, shape (n_rows, n_classes), of a coded matrix."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X has shape {X.shape}, expected (n_rows, {self.n_features}).")
        if len(X) <= _PART_ROWS:
            return self.forest.predict_proba(self.expansion(X), n_threads)
        parts = [X[start : start + _PART_ROWS] for start in range(0, len(X), _PART_ROWS)]
        return np.concatenate([self.forest.predict_proba(self.expansion(part), n_threads) for part in parts])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the forest takes; its expansion is small."""
        return self.forest.nbytes

    def prepare(self, folder: Path) -> None:
        """Write the forest's arrays as they lie in memory."""
        self.forest.prepare(folder)

    def save(self, path: str | os.PathLike[str], mark: str = "") -> None:
        """Write the forest to a file with a mark, and its expansion beside it."""
        self.forest.save(path, mark)
        self.expansion.save(Path(path).with_name(EXPANSION_FILE))
