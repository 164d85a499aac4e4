"""Columns on their way to a forest, and what they are as steps of an `Expansion`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from proto_model.errors import DataError
from proto_model.forest.expansion import Op, Step
from proto_model.schema import Feature

__all__ = ["UNDEFINED", "Column", "IsMissing", "Levels", "Number", "is_missing", "step_of"]


class _Undefined:
    """What a pipeline has no answer for: it raises an error."""


UNDEFINED = _Undefined()


@dataclass(frozen=True)
class Number:
    """A column of numbers on its way to the forest; a missing value becomes `fill`."""

    source: int
    fill: float = math.nan
    scaling: tuple[Op, float, float] | None = None

    def step(self) -> Step:
        """The column as a step of an expansion."""
        if self.scaling is None:
            is_filled = not math.isnan(self.fill)
            return Step(self.source, Op.FILL, self.fill) if is_filled else Step(self.source, Op.IDENTITY)
        op, first, second = self.scaling
        rest = () if math.isnan(self.fill) else (self.fill,)
        return Step(self.source, op, table=(first, second, *rest))


@dataclass(frozen=True)
class IsMissing:
    """A column that is 1 where a feature has no value."""

    source: int

    def step(self) -> Step:
        """The column as a step of an expansion."""
        return Step(self.source, Op.IS_MISSING)


@dataclass(frozen=True)
class Levels:
    """A column that is a function of a category: a value per level, of a missing and of an unseen one.

    `refusal` names what raises an error.
    """

    source: int
    name: str
    values: tuple[Any, ...]
    missing: Any = None
    unseen: Any = field(default=UNDEFINED)
    refusal: str = ""


Column = Number | IsMissing | Levels


def step_of(column: Column, feature: Feature, *, unseen_as_missing: bool) -> Step:
    """The column as a step of an expansion; a DataError says why it cannot be one.

    Servers treat a category that no row has as missing, which may be refused or accepted.
    """
    if not isinstance(column, Levels):
        return column.step()
    values = [_number(value, column) for value in column.values]
    missing, unseen = column.missing, column.unseen
    if missing is not UNDEFINED:
        missing = _number(missing, column) if missing is not None else math.nan
    if unseen is not UNDEFINED:
        unseen = _number(unseen, column)
    if feature.nullable:
        if missing is UNDEFINED:
            raise DataError(
                f"Column {column.name!r} has missing values, and {column.refusal} raises an error for them. "
                "Fit it with what it is to do then."
            )
        if not (unseen_as_missing or unseen is UNDEFINED or _same(missing, unseen)):
            raise DataError(
                f"Column {column.name!r}: to the pipeline, a category that it has not seen is {unseen:g}, "
                f"and a missing one is {missing:g}. Servers of this project treat both as missing. Fit it "
                "with the same for both, or accept that with unseen='missing'."
            )
        last = missing
    else:
        last = unseen if unseen is not UNDEFINED else missing
        if last is UNDEFINED:
            raise DataError(
                f"Column {column.name!r}: {column.refusal} raises an error for categories that it has not "
                "seen, and servers of this project answer. Fit it with handle_unknown, or have "
                "them answer as for a missing one with unseen='missing'."
            )
    table = (*values, last)
    if math.isnan(last) and values == list(map(float, range(len(values)))):
        return Step(column.source, Op.IDENTITY)
    return Step(column.source, Op.LOOKUP, table=table)


def _number(value: Any, column: Levels) -> float:
    if isinstance(value, str):
        raise DataError(
            f"Column {column.name!r} reaches the forest as text. Fit the pipeline with an encoder before it."
        )
    return float(value)


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def is_missing(value: Any) -> bool:
    """Whether scikit-learn takes it for missing: None, or NaN."""
    return value is None or value != value
