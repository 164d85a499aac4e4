"""The rows that a version carries so that it can explain: synthetic ones, or training rows on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.unfolded import Unfolding
from proto_model.model import BackgroundKind, background_rows
from proto_model.schema import ModelSchema, Sample
from proto_model.table import TrainingData, encode
from proto_model.training.background.bins import LEAST
from proto_model.training.background.samples import picked, sent, shortened
from proto_model.training.background.synthetic import RareRows, rows_and_classes, synthetic_rows

__all__ = ["LEAST", "StoredBackground", "synthetic_rows"]


@dataclass(frozen=True, eq=False)
class StoredBackground:
    """A coded matrix of shape (n_rows, n_features), and what its rows are.

    `samples` are synthetic rows for people who try the model. Training rows are never among them, so that
    there are none beside a background of training rows: that is for explanations alone.
    """

    kind: BackgroundKind
    rows: NDArray[np.float64]
    samples: tuple[Sample, ...] = ()

    @classmethod
    def of(
        cls, data: TrainingData, kind: BackgroundKind = "synthetic", random_state: int = 0
    ) -> StoredBackground:
        """Background of a kind for models of these training rows; the same for the same seed."""
        X = encode(data.X_train, data.schema)
        if kind == "rows":
            return cls(kind, background_rows(X))
        codes: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
        # Term by term: which terms come together in one text may be one person's own words.
        unfolding = Unfolding(data.schema)
        unfolded, classes = rows_and_classes(unfolding.unfold(X), codes, unfolding.plain, random_state)
        rows = unfolding.fold(unfolded)
        # Rounding may make a row equal to one of the table.
        shown = shortened(rows[picked(classes)], data.schema)
        return cls(kind, rows, sent(shown[~RareRows(X).holds(shown)], data.schema))

    def described(self, schema: ModelSchema) -> ModelSchema:
        """A schema with the sample rows."""
        return schema.with_samples(self.samples)
