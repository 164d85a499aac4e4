"""What is the same for every row that is explained: scored rows, values to try, rules to be found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom
from proto_model.explanation.interface import PredictProba
from proto_model.explanation.lore.moves import Values
from proto_model.explanation.lore.pool import Pool
from proto_model.explanation.lore.rule_search import RuleSearch

__all__ = ["Knowledge"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Scored rows, values to try, and a rule search per class, made when first asked for."""

    background: Background
    pool: Pool
    values: Values
    _rules: dict[int, RuleSearch] = field(default_factory=dict)

    @classmethod
    def of(cls, background: Background, predict_proba: PredictProba) -> Knowledge:
        """Ask the model about the pool, and prepare the rest."""
        return cls(background, Pool.build(background, predict_proba), Values.of(background))

    def rules(self, label: int) -> RuleSearch:
        """Rule search for a class. Two threads may both make it; they make the same."""
        if label not in self._rules:
            self._rules[label] = RuleSearch(self.pool, label)
        return self._rules[label]

    def near(self, x: Floats, label: int, freedom: Freedom, neighbors: Floats, n: int) -> Floats:
        """The `n` nearest neighbours and the `n` nearest real rows that are of another class than x's."""
        real = self.background.matrix[self.pool.real_labels != label]
        chosen = []
        for rows in (neighbors, real):
            distance = self.background.distance(x, np.where(freedom.allows(x, rows), rows, x))
            differs = (rows != x).sum(axis=1)
            chosen.append(rows[np.argsort(distance + 0.1 * differs, kind="stable")[:n]])
        return np.concatenate(chosen)
