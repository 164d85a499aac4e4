r"""The rule book for values: what a feature makes of a number, a text, a truth value or nothing.

The verdict depends on the value and its feature only, never on where the value came from: "5" in JSON is the
same as 5, and the same as a cell of a CSV file. `schemas/cases/values.json` has a case for every rule. The
model's side has code of its own for the same cases.

Most values are plain: numbers in the range of training, known categories. So each feature has two functions.
`accepts` recognizes those as fast as Python can; `read` decides about all others and explains its verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

from mapper.errors import shown
from mapper.mapping.dates import DATE_TYPES, date_text, seconds_in
from mapper.mapping.schema import Feature, ModelSchema

#: What is trimmed from both ends of a text: Unicode's White_Space, which is not what `str.strip()` takes.
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
#: Trimmed texts that stand for no value.
MISSING_MARKERS = (
    *("", "?", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "null", "None", "#N/A N/A", "-1.#IND", "1.#IND", "-1.#QNAN", "1.#QNAN"),
)
#: The largest number of 32 bits, in which forests compare.
LARGEST = 3.4028234663852886e38

_MARKERS = frozenset(MISSING_MARKERS)
# No two parts can match the same digits: a long text that is no number is refused in linear time.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INFINITY = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
_TRUTHS = {
    word: value for value in (True, False) for word in (f"{value}", f"{value}".lower(), f"{value}".upper())
}
_EXACT_IN_64_BITS = 1 << 53  # whole numbers up to here are the same as int and as float


class Verdict(NamedTuple):
    """What a value is: `value` as the model server gets it, and a fault or a warning where there is one."""

    value: Any
    kind: str = ""
    message: str = ""
    is_fault: bool = True


class Field(NamedTuple):
    """The compiled rules of one feature; `accepts` is never true of None."""

    name: str
    nullable: bool
    is_text: bool
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Verdict]


def compile_fields(schema: ModelSchema) -> tuple[Field, ...]:
    """Rules of every feature, in the order of the schema."""
    return tuple(_compile(feature) for feature in schema.features)


def plain_column(field: Field, column: list[Any]) -> list[Any] | None:
    """A column as the model server gets it, if all its values are plain, or the texts of plain numbers."""
    accepts = field.accepts
    if all(map(accepts, column)) or (field.nullable and all(v is None or accepts(v) for v in column)):
        return column
    if not field.is_text and all(type(value) is str for value in column):
        if all(map(_NUMBER.fullmatch, column)):
            numbers = list(map(float, column))
            return numbers if all(map(accepts, numbers)) else None
    return None


def _compile(feature: Feature) -> Field:
    read = _READERS.get(feature.type, _read_number)
    accepts = _plain(feature)
    return Field(
        feature.name, feature.nullable, not feature.takes_numbers, accepts, partial(_read, feature, read)
    )


def _plain(feature: Feature) -> Callable[[Any], bool]:
    categories = feature.known
    # The range of training, as far as every number in it can be sent just as it is.
    low, high = max(feature.minimum, -_EXACT_IN_64_BITS), min(feature.maximum, _EXACT_IN_64_BITS)

    def is_number(value: Any) -> bool:
        kind = type(value)
        return (kind is float or kind is int) and low <= value <= high

    def is_whole(value: Any) -> bool:
        kind = type(value)
        return (kind is int or (kind is float and value.is_integer())) and low <= value <= high

    return {
        "double": is_number,
        "long": is_whole,
        "boolean": lambda value: value is True or value is False,
        "string": lambda value: type(value) is str and value in categories,
        **dict.fromkeys((*DATE_TYPES, "text"), lambda value: False),
    }[feature.type]


def _read(feature: Feature, read: Callable[[Feature, Any], Verdict], value: Any) -> Verdict:
    """Verdict on any value but a plain one."""
    if not isinstance(value, str):
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of NumPy
            value = value.item()
        if isinstance(value, Decimal):
            value = math.nan if value.is_nan() else float(value)
    if _is_missing(feature, value):
        if feature.nullable:
            return Verdict(None)
        given = "" if value is None else f"{shown(value)} means that it is missing; "
        return Verdict(None, "null_value", f"{given}a value is required")
    return read(feature, value)


def _is_missing(feature: Feature, value: Any) -> bool:
    if isinstance(value, str):
        return value.strip(SPACES) in _MARKERS and _category(feature, value) is None
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, date) and value != value)  # pandas' NaT


def number_in(value: Any) -> int | float | None:
    """The number that a value is, or that its text spells; it may be infinite."""
    if isinstance(value, str):
        text = value.strip(SPACES)
        return float(text) if _NUMBER.fullmatch(text) or _INFINITY.fullmatch(text) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_number(feature: Feature, value: Any) -> Verdict:
    whole = feature.type == "long"
    number = number_in(value)
    if number is None:
        expected = "a whole number" if whole else "a number"
        or_null = ", or null if it is missing" if feature.nullable else ""
        return Verdict(None, "wrong_type", f"{shown(value)} given, {expected} expected{or_null}")
    if not -LARGEST <= number <= LARGEST:
        kind = "not_finite" if number in (math.inf, -math.inf) else "too_large"
        return Verdict(None, kind, f"{shown(value)} is too large; the limit is {LARGEST:.4g}")
    if whole and number != int(number):
        return Verdict(None, "not_whole", f"{shown(value)} given, a whole number expected")
    # The model server gets an integer only where it is exact, and where JSON and a table can hold it.
    is_exact = -_EXACT_IN_64_BITS <= number <= _EXACT_IN_64_BITS
    sent = int(number) if is_exact and (whole or isinstance(number, int)) else float(number)
    if feature.minimum <= number <= feature.maximum:
        return Verdict(sent)
    seen = f"{feature.minimum:.10g} to {feature.maximum:.10g}"
    if feature.values == "closed":
        return Verdict(None, "out_of_range", f"{shown(value)} given, {seen} expected")
    message = f"{shown(value)} is outside the range seen in training, {seen}"
    return Verdict(sent, "out_of_range", message, is_fault=False)


def _read_boolean(feature: Feature, value: Any) -> Verdict:
    truth = value if isinstance(value, bool) else None
    if isinstance(value, str):
        truth = _TRUTHS.get(value.strip(SPACES))
    if truth is None and (number := number_in(value)) in (0, 1):
        truth = number == 1
    if truth is None:
        return Verdict(None, "wrong_type", f"{shown(value)} given, true or false expected")
    return Verdict(truth)


def _read_category(feature: Feature, value: Any) -> Verdict:
    if feature.values != "learned" and feature.categories and isinstance(value, bool | int | float):
        value = _spelled(value)
    if not isinstance(value, str):
        such_as = f", such as {_known(feature)}" if feature.categories else ""
        return Verdict(None, "wrong_type", f"{shown(value)} given, text expected{such_as}")
    known = _category(feature, value)
    if known is not None:
        return Verdict(known)
    if feature.values == "open":
        return Verdict(value.encode(errors="replace").decode())
    near = get_close_matches(value[:200], feature.categories[:1000], 1)
    hint = f"did you mean {shown(near[0])}?" if near else f"known categories: {_known(feature)}"
    if feature.values == "closed":
        hint = f"did you mean {shown(near[0])}?" if near else f"one of {_known(feature)} expected"
        return Verdict(None, "unknown_value", f"{shown(value)} given; {hint}")
    sent = value.encode(errors="replace").decode()  # half a surrogate pair cannot be sent
    message = f"{shown(value)} was not seen in training and is treated as unknown; {hint}"
    return Verdict(sent, "unseen_category", message, is_fault=False)


def _read_date(feature: Feature, value: Any) -> Verdict:
    is_day = feature.type == "date"
    seconds = seconds_in(value.strip(SPACES) if isinstance(value, str) else value)
    if seconds is None or (is_day and seconds % 86_400):
        kind = "wrong_type" if seconds is None else "not_a_day"
        expected = "a date without a time" if is_day else "a date and time"
        example = date_text(feature.median, feature.type)
        return Verdict(None, kind, f"{shown(value)} given, {expected} expected, such as {shown(example)}")
    sent = value.strip(SPACES) if isinstance(value, str) else value.isoformat()
    if feature.minimum <= seconds <= feature.maximum:
        return Verdict(sent)
    message = f"{shown(sent)} is outside the range seen in training, {feature.seen}"
    return Verdict(sent, "out_of_range", message, is_fault=False)


def _read_text(feature: Feature, value: Any) -> Verdict:
    if not isinstance(value, str):
        return Verdict(None, "wrong_type", f"{shown(value)} given, text expected")
    return Verdict(value.encode(errors="replace").decode())  # half a surrogate pair cannot be sent


_READERS: dict[str, Callable[[Feature, Any], Verdict]] = {
    "boolean": _read_boolean,
    "string": _read_category,
    "text": _read_text,
    **dict.fromkeys(DATE_TYPES, _read_date),
}


def _category(feature: Feature, text: str) -> str | None:
    """The category that a text names, exactly or trimmed."""
    return next((name for name in (text, text.strip(SPACES)) if name in feature.known), None)


def _spelled(value: float) -> str:
    """A number or truth value as the text that a list of accepted ones has."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else shown(value)
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT_IN_64_BITS else repr(value)


def _known(feature: Feature) -> str:
    return ", ".join(map(shown, feature.categories[:5])) + (", …" if len(feature.categories) > 5 else "")
