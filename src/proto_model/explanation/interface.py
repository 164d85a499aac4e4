"""The interface behind which explanation engines can be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.schema import ModelSchema

__all__ = [
    "ENGINES",
    "ExplainOptions",
    "Explainer",
    "FrameModel",
    "PredictProba",
    "Progress",
    "make_explainer",
]

ENGINES = ("lore", "lore_sa")
EFFORTS = ("fast", "thorough")
MAX_COUNTERFACTUALS = 20

PredictProba = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Class probabilities, shape (n_rows, n_classes), of a coded matrix."""

Progress = Callable[[int, int], None]
"""Told after each row: how many are done, how many there are."""


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


class Explainer(Protocol):
    """Explains rows of a coded matrix."""

    def explain(
        self, X: NDArray[np.float64], options: ExplainOptions, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """One explanation per row, in order: plain JSON as in `schemas/explanation.schema.json`.

        Raises
        ------
        InputError
            If the options or the rows do not fit the schema.
        """


@dataclass(frozen=True)
class FrameModel:
    """Any model over DataFrames, such as a scikit-learn pipeline, as a model over coded matrices.

    Parameters
    ----------
    predict_proba : callable
        Takes the canonical frame, returns probabilities of shape (n_rows, n_classes).
    schema : ModelSchema
        Says how codes become values.
    """

    predict_proba: Callable[[Any], Any]
    schema: ModelSchema

    def __call__(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of the rows of a coded matrix."""
        from proto_model.values import decode

        return np.asarray(self.predict_proba(decode(matrix, self.schema)), dtype=np.float64)


def make_explainer(
    engine: str, schema: ModelSchema, background: NDArray[np.float64], predict_proba: PredictProba
) -> Explainer:
    """Explainer of a model.

    Parameters
    ----------
    engine : {"lore", "lore_sa"}
        Our own engine, or the published LORE library (slow, one row at a time).
    schema : ModelSchema
        Features and classes of the model.
    background : ndarray of shape (n_rows, n_features)
        Sample of the training rows as a coded matrix.
    predict_proba : callable
        The model: coded matrix to class probabilities. See `FrameModel` for models over DataFrames.

    Raises
    ------
    InputError
        If there is no such engine.
    ArtifactError
        If the background does not fit the schema.
    """
    if engine == "lore_sa":
        from proto_model.explanation.lore_sa import LoreSaExplainer

        return LoreSaExplainer(schema, background, predict_proba)
    if engine == "lore":
        from proto_model.explanation.lore import LoreExplainer

        return LoreExplainer(schema, background, predict_proba)
    raise InputError(f"engine {engine!r} given, one of {', '.join(ENGINES)} expected.")


def _listed(names: list[str], limit: int = 10) -> str:
    """Names in a sentence, the first few of many."""
    rest = len(names) - limit
    return ", ".join(map(repr, names[:limit])) + (f" and {rest} more" if rest > 0 else "")
