"""A model whose answers are known by heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto_model.model import Decision
from proto_model.schema import Feature, ModelSchema

__all__ = ["HalfModel"]


class HalfModel:
    """Says `yes` with the probability that is half of the row's only number.

    Parameters
    ----------
    n_features : int
        Further numbers, without a say; `x` is the first, then `x1`, `x2` and so on.
    """

    decision = Decision()

    def __init__(self, n_features: int = 1) -> None:
        names = ["x", *(f"x{i}" for i in range(1, n_features))]
        numbers = tuple(
            Feature(name, "double", False, minimum=0.0, maximum=1.0, median=0.5) for name in names
        )
        self.schema = ModelSchema("halves", "class", "string", ("no", "yes"), numbers)

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of both classes."""
        yes = np.clip(matrix[:, 0], 0, 1) / 2
        return np.column_stack([1 - yes, yes])
