"""How a sentence calls columns and values: with the unit and the meanings of the data dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proto_model.dictionary import NO_ENTRY, Entry
from proto_model.schema import Label, ModelSchema

READABLE = 5  # values that are named in a sentence

Shown = str | int | float | bool | None


@dataclass(frozen=True)
class Wording:
    """Words for the columns of a schema; without its dictionary, where a text would be too long otherwise."""

    schema: ModelSchema
    is_told: bool = True

    def entry(self, column: str) -> Entry:
        """What counts of the dictionary."""
        return self.schema.entry(column) if self.is_told else NO_ENTRY

    def name(self, column: str) -> str:
        """A column with its unit: `worst radius (mm)`."""
        unit = self.entry(column).unit
        return f"{column} ({unit})" if unit else column

    def value(self, column: str, value: Shown) -> str:
        """A value of a column, or what it means."""
        text = shown(value)
        return text if value is None else self.entry(column).words.get(text, text)

    def values(self, column: str, values: Iterable[Shown]) -> list[str]:
        """The same of several."""
        return [self.value(column, value) for value in values]

    def label(self, label: Label) -> str:
        """A class, or what it means."""
        return self.value(self.schema.target, label)

    def between(self, column: str, above: float, at_most: float) -> str:
        """What the numbers in an interval mean, if they are few: ` (female)`."""
        numbers = ((_number(stored), word) for stored, word in self.entry(column).words.items())
        meant = [word for number, word in numbers if number is not None and above < number <= at_most]
        return f" ({' or '.join(meant)})" if 0 < len(meant) <= READABLE else ""


def shown(value: Shown) -> str:
    """Value in a sentence: JSON's spelling of booleans, `missing`, numbers without a useless `.0`.

    Examples
    --------
    >>> [shown(v) for v in (884.0, 0.25, True, None, "red")]
    ['884', '0.25', 'true', 'missing', 'red']
    """
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(float(value))
    return str(value)


def _number(stored: str) -> float | None:
    try:
        return float(stored)
    except ValueError:
        return None
