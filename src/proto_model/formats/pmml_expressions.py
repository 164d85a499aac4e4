"""Expressions of PMML as text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from xml.sax.saxutils import quoteattr


def apply(function: str, *arguments: str) -> str:
    """A function of expressions."""
    return f'<Apply function="{function}">{"".join(arguments)}</Apply>'


def constant(value: float) -> str:
    """A double."""
    return f'<Constant dataType="double">{value!r}</Constant>'


def field(name: str) -> str:
    """Value of a field."""
    return f"<FieldRef field={quoteattr(name)}/>"


def total(expressions: Iterable[str]) -> str:
    """Sum in the order given."""
    return reduce(lambda left, right: apply("+", left, right), expressions)


def derived(name: str, expression: str) -> str:
    """A field of doubles with an expression."""
    return (
        f'<DerivedField name={quoteattr(name)} optype="continuous" dataType="double">{expression}'
        "</DerivedField>\n"
    )
