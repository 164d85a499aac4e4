"""An explanation as an engine makes it, and the JSON that is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from proto_model.explanation.background import Background, differs
from proto_model.explanation.interface import Floats, Ints
from proto_model.explanation.rule import Rule
from proto_model.explanation.wording import Wording

MAX_BYTES = 10_000
MAX_IMPORTANCES = 40
MAX_HELD = 20

#: Where a change goes against what the model does on average.
ONLY_AGAINST = (
    "Every counterfactual has a change that leads away from its class on average (against): the model makes "
    "an exception here. Do not give such a change as advice."
)


def none_found(some_held: bool, n_combinations: int = 0) -> str:
    """Why there is no counterfactual; `n_combinations` of values were tried, where these are all."""
    others = " of the other features" if some_held else ""
    if n_combinations > 1:
        why = (
            f"No allowed change{others} gives another class: all {n_combinations:,} combinations of their "
            "values, numbers in steps, were tried."
        )
    elif n_combinations == 1:
        why = "No counterfactual is possible: no feature that the model reads may change."
    else:
        why = (
            f"No counterfactual was found among the allowed changes{others} to values like those of training."
        )
    # Their names are told in `held_fixed`, which a mapper translates.
    hint = " Sensitive features stay as they are (held_fixed); mutable_features names those that may change."
    return why + (hint if some_held else "")


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A changed row, the class and probability that the model gives it, and the rule it comes from."""

    values: Floats
    prediction: int
    probability: float
    valid: bool
    distance: float
    rule: Rule | None
    against: tuple[int, ...] = ()  # changed features that lead away from the class, on average, by themselves

    def changed(self, x: Floats) -> Ints:
        """Indices of the features that differ from x."""
        return np.flatnonzero(differs(x, self.values))

    def to_dict(self, x: Floats, background: Background, wording: Wording | None = None) -> dict[str, Any]:
        """JSON object of the counterfactual of row `x`, whose text is in the words of the data dictionary."""
        wording = wording or Wording(background.schema)
        names = background.schema.feature_names
        changes = [
            {
                "feature": names[j],
                "from": background.json_value(j, float(x[j])),
                "to": background.json_value(j, float(self.values[j])),
                **({"against": True} if j in self.against else {}),
            }
            for j in self.changed(x)
        ]
        label = background.schema.classes[self.prediction]
        parts = [
            f"{wording.name(column)} were {wording.value(column, to)} instead of {wording.value(column, was)}"
            for column, was, to in ((c["feature"], c["from"], c["to"]) for c in changes)
        ]
        return {
            "changes": changes,
            "prediction": label,
            "probability": round(self.probability, 6),
            "valid": self.valid,
            "distance": round(self.distance, 6),
            "rule": None if self.rule is None else self.rule.to_dict(background),
            "text": f"IF {' AND '.join(parts)} THEN {wording.label(label)}",
        }


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an engine found out about one row; `to_dict` gives what is sent."""

    x: Floats
    prediction: int
    probability: float
    rule: Rule
    precision: float
    coverage: float
    importances: Floats  # not negative; scaled to sum to 1 when sent
    seed: int
    engine: str
    notes: tuple[str, ...]
    counterfactuals: tuple[Counterfactual, ...] = ()  # nearest first
    fidelity: float | None = None  # None without a surrogate
    class_fidelity: float | None = None  # the same, asked only for the row's class or another
    size: int = 0  # rows that the model has scored
    held: tuple[str, ...] = ()  # sensitive features that no counterfactual was allowed to change

    def to_dict(self, background: Background) -> dict[str, Any]:
        """JSON object, of at most `MAX_BYTES` bytes: what does not fit is left out, and a note says so."""
        content = self._content(background, Wording(background.schema))
        if background.schema.dictionary and _n_bytes(content) > MAX_BYTES:
            content = self._content(background, Wording(background.schema, is_told=False))
            content["notes"].append(
                "Texts have no units and meanings of the data dictionary, to limit the size."
            )
        shorter = [
            [premise.to_dict(background, lists) for premise in self.rule.premises]
            for lists in ("shorter", "none")
        ]
        return _fitted(content, shorter)

    def _content(self, background: Background, wording: Wording) -> dict[str, Any]:
        importances, notes = _importances(self.importances, background.schema.feature_names)
        return {
            "prediction": background.schema.classes[self.prediction],
            "probability": round(self.probability, 6),
            "rule": {
                **self.rule.to_dict(background),
                "text": self.rule.text(background, wording),
                "precision": round(self.precision, 4),
                "coverage": round(self.coverage, 4),
            },
            "counterfactuals": [c.to_dict(self.x, background, wording) for c in self.counterfactuals],
            "held_fixed": list(self.held[:MAX_HELD]),
            "feature_importances": importances,
            "fidelity": None if self.fidelity is None else round(self.fidelity, 4),
            "class_fidelity": None if self.class_fidelity is None else round(self.class_fidelity, 4),
            "neighborhood": {"size": self.size, "seed": int(self.seed)},
            "engine": self.engine,
            "notes": [*self.notes, *notes],
        }


def explain_constant(x: Floats, probabilities: Floats, seed: int, engine: str) -> Explanation:
    """Explanation where the model gives every row it was shown the same class."""
    index = int(probabilities.argmax())
    return Explanation(
        x=x,
        prediction=index,
        probability=float(probabilities[index]),
        rule=Rule((), index),
        precision=1.0,
        coverage=1.0,
        importances=np.zeros(len(x)),
        seed=seed,
        engine=engine,
        notes=("The model gave the same class to every row it was asked about: no feature matters.",),
    )


def _importances(weights: Floats, names: list[str]) -> tuple[dict[str, float], list[str]]:
    """Importances that sum to 1, largest first, at most `MAX_IMPORTANCES`; and a note on the others."""
    total = float(weights.sum())
    listed = np.argsort(-weights, kind="stable")[:MAX_IMPORTANCES]
    if total <= 0:
        return {names[j]: 0.0 for j in sorted(listed)}, []
    shares = weights[listed] / weights[listed].sum()
    rounded = [round(float(share), 4) for share in shares]
    # What rounding adds or takes goes to the largest, so that they sum to 1.
    rounded[0] = round(1.0 - sum(rounded[1:]), 4)
    notes = []
    if len(names) > len(listed):
        rest = 1 - float(weights[listed].sum()) / total
        notes.append(
            f"Only the {len(listed)} most important of {len(names)} features are listed, scaled to sum to 1; "
            f"the others account for {rest:.1%} together."
        )
    return {names[j]: share for j, share in zip(listed, rounded, strict=True)}, notes


def _fitted(content: dict[str, Any], shorter: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The explanation without what makes it too long.

    First the rules of counterfactuals go, then long lists of values in the rule (`shorter` has its premises
    with shorter ones, and with none), then far counterfactuals.
    """
    if _n_bytes(content) <= MAX_BYTES:
        return content
    kept = [{**c, "rule": None} for c in content["counterfactuals"]]
    notes = [*content["notes"], "The rules of the counterfactuals were left out to limit the size."]
    content = {**content, "counterfactuals": kept, "notes": notes}
    for premises in shorter:
        if _n_bytes(content) > MAX_BYTES and premises != content["rule"]["premises"]:
            content["rule"] = {**content["rule"], "premises": premises}
    if any("of" in premise and "in" not in premise for premise in content["rule"]["premises"]):
        notes.append("Long lists of values were left out or turned round (not_in) to limit the size.")
    n_found = len(kept)
    while kept and _n_bytes(content) > MAX_BYTES:
        kept.pop()
    if len(kept) < n_found:
        notes.append(f"The {n_found - len(kept)} farthest counterfactuals were left out to limit the size.")
    return content


def _n_bytes(content: dict[str, Any]) -> int:
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
