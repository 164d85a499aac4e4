"""Sentences of an explanation in the words of a mapping, with units and meanings of the data dictionary."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any

from mapper.application.functions import Value, spelled
from mapper.mapping.dictionary import NO_ENTRY, Entry
from mapper.mapping.schema import Label

Explained = dict[str, Any]
READABLE = 5  # values that are named in a sentence


@dataclass(frozen=True)
class Wording:
    """What a sentence calls columns, values and classes; `entries` are by the names that clients know."""

    entries: Table[str, Entry]
    target: Entry

    def rule(self, premises: list[Explained], consequence: Label) -> str:
        """A rule as a sentence."""
        if not premises:
            return f"ALWAYS {self._label(consequence)}"
        return f"IF {' AND '.join(map(self._premise, premises))} THEN {self._label(consequence)}"

    def change(self, changes: list[Explained], label: Label) -> str:
        """A counterfactual as a sentence."""
        parts = [
            f"{self._name(c['feature'])} were {self._value(c['feature'], c['to'])} "
            f"instead of {self._value(c['feature'], c['from'])}"
            for c in changes
        ]
        return f"IF {' AND '.join(parts)} THEN {self._label(label)}"

    def _name(self, column: str) -> str:
        unit = self._entry(column).unit
        return f"{column} ({unit})" if unit else column

    def _entry(self, column: str) -> Entry:
        return self.entries.get(column, NO_ENTRY)

    def _label(self, label: Label) -> str:
        return _word(self.target, label)

    def _value(self, column: str, value: Value) -> str:
        return _word(self._entry(column), value)

    def _values(self, column: str, values: Iterable[Value]) -> list[str]:
        return [self._value(column, value) for value in values]

    def _premise(self, premise: Explained) -> str:
        column, missing = premise["feature"], " or missing" if premise.get("or_missing") else ""
        name = self._name(column)
        for key, verb in (("contains", "contains"), ("lacks", "does not contain")):
            if key in premise:
                return f"{name} {verb} {_shown(premise[key])}"
        if "in" in premise:
            if not premise["in"]:
                return f"{name} is missing" if missing else f"{name} is none of the known words"
            if len(premise["in"]) <= READABLE:
                return f"{name} is {' or '.join(self._values(column, premise['in']))}{missing}"
        if "in" in premise or "of" in premise:
            others = premise.get("not_in")
            if others is not None and len(others) <= READABLE:
                known = f"not {' nor '.join(self._values(column, others))}" if others else "known"
                return f"{name} is {known}{missing}"
            count = premise.get("count", len(premise.get("in", ())))
            known = f" of {premise['of']}" if "of" in premise else ""
            return f"{name} is one of {count}{known} values{missing}"
        above, at_most = premise.get("above"), premise.get("at_most")
        meant = self._meant(column, above, at_most)
        if above is not None and at_most is not None:
            return f"{_shown(above)} < {name} <= {_shown(at_most)}{meant}{missing}"
        if above is not None:
            return f"{name} > {_shown(above)}{meant}{missing}"
        return f"{name} is known" if at_most is None else f"{name} <= {_shown(at_most)}{meant}{missing}"

    def _meant(self, column: str, above: Value, at_most: Value) -> str:
        """What the numbers in an interval mean, if they are few: ` (female)`."""
        if isinstance(above, str) or isinstance(at_most, str):
            return ""  # dates
        low = -math.inf if above is None else above
        high = math.inf if at_most is None else at_most
        numbers = ((_number(stored), word) for stored, word in self._entry(column).words.items())
        meant = [word for number, word in numbers if number is not None and low < number <= high]
        return f" ({' or '.join(meant)})" if 0 < len(meant) <= READABLE else ""


def _word(entry: Entry, value: Value) -> str:
    """A value in a sentence, or what it means."""
    if value is None or not entry.decode:
        return _shown(value)
    return entry.words.get(spelled(value), _shown(value))


def _shown(value: Value) -> str:
    """A value in a sentence; converted numbers have more digits than are of use there."""
    if isinstance(value, float) and not value.is_integer() and 1e-4 <= abs(value) < 1e6:
        return spelled(float(f"{value:.6g}"))
    return "missing" if value is None else spelled(value)


def _number(stored: str) -> float | None:
    try:
        return float(stored)
    except ValueError:
        return None
