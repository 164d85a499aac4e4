"""Operators and functions of a mapping's expressions; each gives a value within bounds, or says why not."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any, Literal, NamedTuple

from mapper.errors import MapperError, shown
from mapper.mapping.values import number_in

Kind = Literal["number", "text", "boolean"]
Value = float | str | bool | None

MAX_TEXT_CHARACTERS = 1000
MAX_NUMBER = 1e300
MAX_DIGITS = 10
DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?![0-9]).*", re.DOTALL)


class NotComputableError(MapperError):
    """An expression has no value for a row."""


def finite(number: float) -> float:
    """A number as it is; raises NotComputableError if it is not within bounds."""
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        raise NotComputableError("the result is not a finite number")
    return number


def short(text: str) -> str:
    """A text as it is; raises NotComputableError if it is too long."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise NotComputableError(f"the text has more than {MAX_TEXT_CHARACTERS} characters")
    return text


def _divide(how: Callable[[float, float], float]) -> Callable[[Any, Any], float]:
    def divide(a: float, b: float) -> float:
        if b == 0:
            raise NotComputableError("division by zero")
        return finite(how(a, b))

    return divide


def _power(a: float, b: float) -> float:
    try:
        return finite(math.pow(a, b))
    except (OverflowError, ValueError) as error:
        raise NotComputableError(f"{shown(a)} ** {shown(b)} is not a finite number") from error


def _of_number(name: str, how: Callable[[float], float]) -> Callable[[Any], float]:
    def compute(a: float) -> float:
        try:
            return finite(float(how(a)))
        except (OverflowError, ValueError) as error:
            raise NotComputableError(f"{name}({shown(a)}) is not a finite number") from error

    return compute


def _round(a: float, digits: float = 0) -> float:
    if not (0 <= digits <= MAX_DIGITS and digits == int(digits)):
        raise NotComputableError(f"round takes 0 to {MAX_DIGITS} digits, not {shown(digits)}")
    return finite(float(round(a, int(digits))))


def _to_number(text: str) -> float:
    number = number_in(short(text))
    if number is None:
        raise NotComputableError(f"{shown(text)} is not a number")
    return finite(float(number))


def spelled(value: float | bool | str) -> str:
    """A value as text: 3 for 3.0, true for True.

    Examples
    --------
    >>> spelled(3.0), spelled(0.5), spelled(True), spelled("BI")
    ('3', '0.5', 'true', 'BI')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _date(text: str) -> date:
    found = DATE.fullmatch(short(text).strip())
    try:
        return date(*map(int, found.groups() if found else (0, 0, 0)))
    except ValueError as error:
        raise NotComputableError(f"{shown(text)} is not a date such as 2026-03-01") from error


class Function(NamedTuple):
    """A function: the types of its arguments, of which some may be left out or repeated; and its result's."""

    kinds: tuple[Kind, ...]
    result: Kind
    call: Callable[..., Value]
    least: int = 1
    repeats: bool = False


FUNCTIONS: dict[str, Function] = {
    "abs": Function(("number",), "number", abs),
    "round": Function(("number", "number"), "number", _round),
    "floor": Function(("number",), "number", _of_number("floor", math.floor)),
    "ceil": Function(("number",), "number", _of_number("ceil", math.ceil)),
    "sqrt": Function(("number",), "number", _of_number("sqrt", math.sqrt)),
    "log": Function(("number",), "number", _of_number("log", math.log)),
    "exp": Function(("number",), "number", _of_number("exp", math.exp)),
    "min": Function(("number",), "number", lambda *n: min(n), repeats=True),
    "max": Function(("number",), "number", lambda *n: max(n), repeats=True),
    "lower": Function(("text",), "text", lambda t: short(short(t).lower())),
    "upper": Function(("text",), "text", lambda t: short(short(t).upper())),
    "trim": Function(("text",), "text", lambda t: short(t).strip()),
    "len": Function(("text",), "number", lambda t: float(len(t))),
    "number": Function(("text",), "number", _to_number),
    "year": Function(("text",), "number", lambda t: float(_date(t).year)),
    "month": Function(("text",), "number", lambda t: float(_date(t).month)),
    "day": Function(("text",), "number", lambda t: float(_date(t).day)),
    "days": Function(("text",), "number", lambda t: float(_date(t).toordinal())),
}
#: Those that take any type: `text` of a number, whether a value is `missing`, the first that is not, a field.
SPECIAL = ("text", "missing", "coalesce", "field")

OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], float]]] = {
    ast.Add: ("+", lambda a, b: finite(a + b)),
    ast.Sub: ("-", lambda a, b: finite(a - b)),
    ast.Mult: ("*", lambda a, b: finite(a * b)),
    ast.Div: ("/", _divide(lambda a, b: a / b)),
    ast.FloorDiv: ("//", _divide(lambda a, b: a // b)),
    ast.Mod: ("%", _divide(lambda a, b: a % b)),
    ast.Pow: ("**", _power),
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
