"""The interface behind which explanation engines can be exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.parameters import Parameters, parameters_of
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

(ENGINES,) = (parameter.choices for parameter in parameters_of() if parameter.name == "engine")
ExplainOptions = Parameters
"""What a user may ask of an explanation: those of a request's parameters that tell of it."""

PredictProba = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Class probabilities, shape (n_rows, n_classes), of a coded matrix."""

Progress = Callable[[int, int], None]
"""Told after each row: how many are done, how many there are."""


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
