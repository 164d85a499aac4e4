"""Explanations of decisions by costs: engines explain the class with the largest score they are given.

They are given scores whose largest is that of the decided class (`Decision.scores`), so that rules hold for
decisions and counterfactuals flip them. The probabilities that they show must be those of the answer, and are
put in afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation import Explainer, make_explainer
from proto_model.model.bundle import Bundle
from proto_model.parameters import Parameters
from proto_model.values import RuleBook

_DIGITS = 6  # as the engines round


def explainer_of(bundle: Bundle, engine: str) -> Explainer:
    """Explainer of a bundle's decisions; raises as `make_explainer` does."""
    has_costs = bundle.decision.costs is not None
    explainer = make_explainer(
        engine,
        bundle.schema,
        bundle.background,
        bundle.decision_scores if has_costs else bundle.predict_proba,
        bundle.background_kind == "synthetic",
    )
    return DecidedExplainer(explainer, bundle) if has_costs else explainer


class DecidedExplainer:
    """An explainer of `Bundle.decision_scores` that shows probabilities; pickles when its explainer does."""

    def __init__(self, explainer: Explainer, bundle: Bundle) -> None:
        self._explainer = explainer
        self._bundle = bundle

    def explain(
        self, X: NDArray[np.float64], options: Parameters, progress: Any = None
    ) -> list[dict[str, Any]]:
        """One explanation per row; see `Explainer.explain`."""
        explanations = self._explainer.explain(X, options, progress)
        probabilities = self._bundle.predict_proba(X)
        return [
            self._truthful(explanation, x, own)
            for explanation, x, own in zip(explanations, X, probabilities, strict=True)
        ]

    def _truthful(
        self, explanation: dict[str, Any], x: NDArray[np.float64], own: NDArray[np.float64]
    ) -> dict[str, Any]:
        """The explanation of a row with the probabilities of the classes that it names."""
        found = explanation["counterfactuals"]
        if found:
            rows = np.array([self._changed(x, item["changes"]) for item in found])
            answers = self._bundle.predict_proba(rows)
            found = [self._with_share(item, answer) for item, answer in zip(found, answers, strict=True)]
        return {**self._with_share(explanation, own), "counterfactuals": found}

    def _with_share(self, content: Mapping[str, Any], answer: NDArray[np.float64]) -> dict[str, Any]:
        place = self._bundle.schema.classes.index(content["prediction"])
        return {**content, "probability": round(float(answer[place]), _DIGITS)}

    def _changed(self, x: NDArray[np.float64], changes: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """The coded row after the changes of a counterfactual."""
        rules = {rule.feature.name: (place, rule) for place, rule in enumerate(self._rules)}
        row = x.copy()
        for change in changes:
            place, rule = rules[change["feature"]]
            row[place], _ = rule.read(change["to"])
        return row

    @property
    def _rules(self) -> Sequence[Any]:
        return RuleBook.of(self._bundle.schema).rules
