"""What a user may ask of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from proto_model.errors import InputError
from proto_model.schema import ModelSchema

EFFORTS = ("fast", "thorough")
MAX_COUNTERFACTUALS = 20


@dataclass(frozen=True)
class ExplainOptions:
    """What a user may ask of an explanation.

    Parameters
    ----------
    effort : {"fast", "thorough"}
        How much work to put into each row.
    seed : int
        The same seed gives the same explanation of the same row, whatever comes before or beside it.
    max_counterfactuals : int
        How many to give at most, from 0 to 20.
    immutable_features, increase_only, decrease_only : tuple of str
        Features that a counterfactual may not change, or in one direction only.
    """

    effort: Literal["fast", "thorough"] = "fast"
    seed: int = 0
    max_counterfactuals: int = 3
    immutable_features: tuple[str, ...] = ()
    increase_only: tuple[str, ...] = ()
    decrease_only: tuple[str, ...] = ()

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> ExplainOptions:
        """Options among the parameters of a request; names that are not options are left alone."""
        given = {f.name: params[f.name] for f in fields(cls) if params.get(f.name) is not None}
        for name in ("immutable_features", "increase_only", "decrease_only"):
            if name in given:
                given[name] = (given[name],) if isinstance(given[name], str) else tuple(given[name])
        return cls(**given)

    def validate(self, schema: ModelSchema) -> None:
        """Raise an InputError that names every option which does not fit the schema."""
        faults = []
        if self.effort not in EFFORTS:
            faults.append(f"effort {self.effort!r} given, one of {', '.join(EFFORTS)} expected")
        for name, least, most in (("seed", None, None), ("max_counterfactuals", 0, MAX_COUNTERFACTUALS)):
            value = getattr(self, name)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or (least is not None and most is not None and not least <= value <= most):
                bounds = "" if least is None else f" from {least} to {most}"
                faults.append(f"{name} {value!r} given, a whole number{bounds} expected")
        types = {feature.name: feature.type for feature in schema.features}
        for name in ("immutable_features", "increase_only", "decrease_only"):
            for feature in getattr(self, name):
                if feature not in types:
                    faults.append(f"{name}: no feature {feature!r}; the model has {_listed(list(types))}")
                elif name != "immutable_features" and types[feature] == "string":
                    faults.append(
                        f"{name}: the categories of {feature!r} have no order; use immutable_features"
                    )
        both = sorted(set(self.increase_only) & set(self.decrease_only))
        faults += [
            f"{feature!r} is in increase_only and in decrease_only; use immutable_features"
            for feature in both
        ]
        if faults:
            raise InputError("Explanation options: " + "; ".join(faults) + ".")


def _listed(names: list[str], limit: int = 10) -> str:
    rest = len(names) - limit
    return ", ".join(map(repr, names[:limit])) + (f" and {rest} more" if rest > 0 else "")
