"""A counterfactual: changes of one row that give it another class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.interface import ExplainOptions
from proto_model.explanation.rule import Rule, shown

__all__ = ["Counterfactual", "Freedom"]


@dataclass(frozen=True, eq=False)
class Freedom:
    """Which changes of a row are allowed: per feature, whether it may grow, and whether it may shrink."""

    increase: NDArray[np.bool_]
    decrease: NDArray[np.bool_]

    @classmethod
    def of(cls, options: ExplainOptions, background: Background) -> Freedom:
        """Freedom that the options leave."""
        names = background.schema.feature_names
        fixed = np.isin(names, options.immutable_features)
        return cls(
            increase=~(fixed | np.isin(names, options.decrease_only)),
            decrease=~(fixed | np.isin(names, options.increase_only)),
        )

    @property
    def mutable(self) -> NDArray[np.bool_]:
        """Features that may change at all."""
        return self.increase | self.decrease

    def allows(self, x: NDArray[np.float64], X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Per value of `X`, whether `x` may take it; where x is missing, a direction means nothing."""
        with np.errstate(invalid="ignore"):
            ok = np.where(X > x, self.increase, self.decrease)
        ok = np.where(np.isnan(x), self.mutable, ok)
        allowed: NDArray[np.bool_] = ok & ~np.isnan(X) | (X == x) | (np.isnan(X) & np.isnan(x))
        return allowed


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A changed row, the class and probability that the model gives it, and the rule it comes from."""

    values: NDArray[np.float64]
    prediction: int
    probability: float
    valid: bool
    distance: float
    rule: Rule | None

    def changed(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Indices of the features that differ from x."""
        return np.flatnonzero(~((self.values == x) | (np.isnan(self.values) & np.isnan(x))))

    def to_dict(self, x: NDArray[np.float64], background: Background) -> dict[str, Any]:
        """JSON object of the counterfactual of row `x`."""
        names = background.schema.feature_names
        changes = [
            {
                "feature": names[j],
                "from": background.json_value(j, float(x[j])),
                "to": background.json_value(j, float(self.values[j])),
            }
            for j in self.changed(x)
        ]
        label = background.schema.classes[self.prediction]
        parts = [f"{c['feature']} were {shown(c['to'])} instead of {shown(c['from'])}" for c in changes]
        return {
            "changes": changes,
            "prediction": label,
            "probability": round(self.probability, 6),
            "valid": self.valid,
            "distance": round(self.distance, 6),
            "rule": None if self.rule is None else self.rule.to_dict(background),
            "text": f"IF {' AND '.join(parts)} THEN {shown(label)}",
        }
