"""A rule: one interval or one set per feature, and the class it stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from proto_model.explanation.background import Background, JsonValue
from proto_model.explanation.interface import Bools, Floats
from proto_model.explanation.wording import READABLE, Wording, shown
from proto_model.schema import DATE_TYPES


@dataclass(frozen=True)
class Premise:
    """Condition on one feature: `above < value <= at_most`, or the value's code in `codes`."""

    feature: int
    above: float = -math.inf
    at_most: float = math.inf
    codes: tuple[int, ...] | None = None  # increasing; None for a number
    or_missing: bool = False  # with `codes` empty, only a missing value satisfies it

    def covers(self, column: Floats) -> Bools:
        """Which values of the feature satisfy it."""
        if self.codes is None:
            inside = (column > self.above) & (column <= self.at_most)
        else:
            inside = np.isin(column, self.codes)
        return inside | np.isnan(column) if self.or_missing else inside

    def to_dict(
        self, background: Background, lists: Literal["all", "shorter", "none"] = "all"
    ) -> dict[str, Any]:
        """JSON object of the premise; of many categories, the others if `shorter`, or the count."""
        j = self.feature
        item: dict[str, Any] = {"feature": background.schema.feature_names[j]}
        if self.codes is not None:
            names, others = self._names(background)
            if len(names) <= READABLE:
                return item | {"in": names} | self._missing()
            if lists == "all" or (lists == "shorter" and len(names) <= len(others)):
                item["in"] = names
            if len(others) <= READABLE or (lists == "shorter" and len(others) < len(names)):
                item["not_in"] = others
            return item | {"count": len(names), "of": len(names) + len(others)} | self._missing()
        if self.above > -math.inf:
            item["above"] = background.json_bound(j, self.above)
        if self.at_most < math.inf:
            item["at_most"] = background.json_bound(j, self.at_most)
        return item | self._missing()

    def _missing(self) -> dict[str, Any]:
        return {"or_missing": True} if self.or_missing else {}

    def _names(self, background: Background) -> tuple[list[JsonValue], list[JsonValue]]:
        """Categories that satisfy it, and the others."""
        sides: tuple[list[JsonValue], list[JsonValue]] = ([], [])
        for code in range(int(background.n_codes[self.feature])):
            sides[code not in (self.codes or ())].append(background.json_value(self.feature, code))
        return sides

    def text(self, background: Background, wording: Wording | None = None) -> str:
        """As a person reads it: `29 < age <= 41`, `color is red or blue`, `city is one of 9 of 99 values`."""
        wording = wording or Wording(background.schema)
        column = background.schema.feature_names[self.feature]
        name = wording.name(column)
        missing = " or missing" if self.or_missing else ""
        if self.codes is not None:
            names, others = self._names(background)
            if not names:
                return f"{name} is missing"
            if len(names) <= READABLE:
                return f"{name} is {' or '.join(wording.values(column, names))}{missing}"
            if not others:
                return f"{name} is known{missing}"
            if len(others) <= READABLE:
                return f"{name} is not {' nor '.join(wording.values(column, others))}{missing}"
            return f"{name} is one of {len(names)} of {len(names) + len(others)} values{missing}"
        below, above = self.at_most < math.inf, self.above > -math.inf
        low, high = (self._shown_bound(background, bound) for bound in (self.above, self.at_most))
        meant = wording.between(column, self.above, self.at_most)
        if below and above:
            return f"{low} < {name} <= {high}{meant}{missing}"
        if below or above:
            return f"{name} {f'<= {high}' if below else f'> {low}'}{meant}{missing}"
        return f"{name} is known"

    def _shown_bound(self, background: Background, bound: float) -> str:
        is_date = background.schema.features[self.feature].type in DATE_TYPES and math.isfinite(bound)
        return str(background.json_bound(self.feature, bound)) if is_date else shown(bound)


@dataclass(frozen=True)
class Rule:
    """Premises that all have to hold, and the index of the class that then follows."""

    premises: tuple[Premise, ...]
    consequence: int

    def covers(self, X: Floats) -> Bools:
        """Which rows of a coded matrix satisfy every premise."""
        covered = np.ones(len(X), dtype=np.bool_)
        for premise in self.premises:
            covered &= premise.covers(X[:, premise.feature])
        return covered

    def to_dict(self, background: Background) -> dict[str, Any]:
        """JSON object with `premises` and `consequence`."""
        return {
            "premises": [premise.to_dict(background) for premise in self.premises],
            "consequence": background.schema.classes[self.consequence],
        }

    def text(self, background: Background, wording: Wording | None = None) -> str:
        """`IF worst area > 884 AND ... THEN malignant`; `ALWAYS malignant` without premises."""
        wording = wording or Wording(background.schema)
        label = wording.label(background.schema.classes[self.consequence])
        if not self.premises:
            return f"ALWAYS {label}"
        return f"IF {' AND '.join(p.text(background, wording) for p in self.premises)} THEN {label}"
