"""Checks of single values, compiled once from the schema: one closure per feature.

Most values are fine, so each feature has two functions: `accepts` says yes to those as fast as Python can,
and `judge` is asked about the few others and puts into words what is wrong, or odd, with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from mapper.mapping.findings import shown
from mapper.mapping.schema import Feature, ModelSchema

__all__ = ["Field", "Verdict", "compile_fields"]


class Verdict(NamedTuple):
    """What `judge` thinks of a value: a fault refuses the request, anything else is a warning."""

    is_fault: bool
    kind: str
    message: str


class Field(NamedTuple):
    """The compiled checks of one feature; neither function is asked about None."""

    name: str
    nullable: bool
    is_text: bool
    accepts: Callable[[Any], bool]
    judge: Callable[[Any], Verdict | None]


def compile_fields(schema: ModelSchema) -> tuple[Field, ...]:
    """Checks of every feature, in the order of the schema."""
    return tuple(_COMPILERS[feature.type](feature) for feature in schema.features)


def _double(feature: Feature) -> Field:
    low, high = feature.minimum, feature.maximum

    def accepts(value: Any) -> bool:
        kind = type(value)
        return (kind is float or kind is int) and low <= value <= high

    return Field(feature.name, feature.nullable, False, accepts, _judge_number(feature, whole=False))


def _long(feature: Feature) -> Field:
    low, high = feature.minimum, feature.maximum

    def accepts(value: Any) -> bool:
        kind = type(value)
        return (kind is int or (kind is float and value.is_integer())) and low <= value <= high

    return Field(feature.name, feature.nullable, False, accepts, _judge_number(feature, whole=True))


def _boolean(feature: Feature) -> Field:
    def accepts(value: Any) -> bool:
        return value is True or value is False

    def judge(value: Any) -> Verdict:
        return Verdict(True, "wrong_type", f"{shown(value)} given, true or false expected")

    return Field(feature.name, feature.nullable, False, accepts, judge)


def _string(feature: Feature) -> Field:
    categories = frozenset(feature.categories)
    known = ", ".join(map(shown, feature.categories[:5])) + (", …" if len(categories) > 5 else "")

    def accepts(value: Any) -> bool:
        return type(value) is str and value in categories

    def judge(value: Any) -> Verdict | None:
        if not isinstance(value, str):
            return Verdict(True, "wrong_type", f"{shown(value)} given, a text expected, such as {known}")
        if value in categories:
            return None
        near = get_close_matches(value[:200], feature.categories[:1000], 1)
        hint = f"did you mean {shown(near[0])}?" if near else f"known are {known}"
        return Verdict(
            False, "unseen_category", f"{shown(value)} was never seen in training; taken as unknown, {hint}"
        )

    return Field(feature.name, feature.nullable, True, accepts, judge)


def _judge_number(feature: Feature, *, whole: bool) -> Callable[[Any], Verdict | None]:
    low, high = feature.minimum, feature.maximum
    expected = "a whole number" if whole else "a number"
    or_null = ", or null when it is missing" if feature.nullable else ""
    seen = f"{low:.10g} to {high:.10g}"

    def judge(value: Any) -> Verdict | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            hint = "; send it without quotes" if isinstance(value, str) and _is_number(value) else ""
            return Verdict(True, "wrong_type", f"{shown(value)} given, {expected} expected{or_null}{hint}")
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 64:
                return Verdict(True, "not_finite", f"{shown(value)} does not fit into 64 bits")
        elif not math.isfinite(value):
            return Verdict(True, "not_finite", f"{value} given, {expected} that is finite expected{or_null}")
        elif whole and not value.is_integer():
            return Verdict(True, "not_whole", f"{shown(value)} given, a whole number expected")
        if low <= value <= high:
            return None
        return Verdict(False, "out_of_range", f"{shown(value)} is outside of what training saw, {seen}")

    return judge


def _is_number(text: str) -> bool:
    """Whether a text spells a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


_COMPILERS: dict[str, Callable[[Feature], Field]] = {
    "double": _double,
    "long": _long,
    "boolean": _boolean,
    "string": _string,
}
