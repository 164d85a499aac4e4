"""What engines and their callers agree on: the model, the explainer, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.values import decode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PredictProba = Callable[[Floats], Floats]
"""Class probabilities, shape (n_rows, n_classes), of a coded matrix."""

Progress = Callable[[int, int], None]
"""Called after each row with the number of rows done and the number of all rows."""


class Explainer(Protocol):
    """Explains rows of a coded matrix."""

    def explain(
        self, X: Floats, options: Parameters, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """One explanation per row, in order: plain JSON as in `schemas/explanation.schema.json`.

        Raises
        ------
        InputError
            If the options or the rows do not fit the schema.
        """


@dataclass(frozen=True)
class FrameModel:
    """A model over data frames, such as a scikit-learn pipeline, as a model over coded matrices.

    Parameters
    ----------
    predict_proba : callable
        Takes the canonical frame, returns probabilities of shape (n_rows, n_classes).
    schema : ModelSchema
        Says how codes become values.
    """

    predict_proba: Callable[[Any], Any]
    schema: ModelSchema

    def __call__(self, matrix: Floats) -> Floats:
        """Probabilities of the rows of a coded matrix."""
        return np.asarray(self.predict_proba(decode(matrix, self.schema)), dtype=np.float64)
