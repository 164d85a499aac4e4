"""What engines and their callers agree on: the model, the explainer, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

Explanations = list[dict[str, Any]]
"""Plain JSON as in `schemas/explanation.schema.json`."""


class Explainer(Protocol):
    """Explains rows of a coded matrix."""

    def explain(self, X: Floats, options: Parameters, progress: Progress | None = None) -> Explanations:
        """One explanation per row, in order; InputError if the options or the rows do not fit the schema."""


@dataclass(frozen=True)
class FrameModel:
    """A model over data frames, such as a scikit-learn pipeline, as a model over coded matrices."""

    predict_proba: Callable[[Any], Any]  # canonical frame to probabilities of shape (n_rows, n_classes)
    schema: ModelSchema  # says how codes become values

    def __call__(self, matrix: Floats) -> Floats:
        """Probabilities of the rows of a coded matrix."""
        return np.asarray(self.predict_proba(decode(matrix, self.schema)), dtype=np.float64)


def collected(explanations: Iterable[dict[str, Any]], n_rows: int, progress: Progress | None) -> Explanations:
    """Explanations of so many rows as they come in, each told to `progress`."""
    done: Explanations = []
    for explanation in explanations:
        done.append(explanation)
        if progress is not None:
            progress(len(done), n_rows)
    return done
