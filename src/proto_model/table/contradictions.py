"""Rows that are equal but for their class, and the best score that they leave within reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proto_model.table.training_data import TrainingData
from proto_model.table.twins import feature_hashes


@dataclass(frozen=True)
class Contradictions:
    """Rows with equal features and different classes, and the best scores that any model can have.

    `n_opposed` of the `n_test` test rows have equal rows in training, none of which has their class.
    """

    n_rows: int
    n_groups: int
    best_accuracy: float
    best_balanced_accuracy: float
    n_opposed: int
    n_test: int


def contradictions(data: TrainingData) -> Contradictions:
    """What equal rows of different classes cost, over training and test rows together."""
    hashes = np.concatenate([feature_hashes(data.X_train), feature_hashes(data.X_test)])
    groups = np.unique(hashes, return_inverse=True)[1]
    y = np.unique(np.concatenate([data.y_train, data.y_test]), return_inverse=True)[1]
    n_train, n_groups, n_classes = len(data.y_train), int(groups.max()) + 1, int(y.max()) + 1
    places = groups * n_classes + y
    shape = (n_groups, n_classes)
    counts = np.bincount(places, minlength=n_groups * n_classes).reshape(shape)
    learned = np.bincount(places[:n_train], minlength=n_groups * n_classes).reshape(shape)
    mixed = counts[(counts > 0).sum(axis=1) > 1]
    shares = mixed / counts.sum(axis=0)
    tested = groups[n_train:]
    opposed = (learned[tested].sum(axis=1) > 0) & (learned[tested, y[n_train:]] == 0)
    return Contradictions(
        n_rows=int(mixed.sum()),
        n_groups=len(mixed),
        best_accuracy=1 - float((mixed.sum(axis=1) - mixed.max(axis=1)).sum()) / len(y),
        best_balanced_accuracy=1 - float((shares.sum(axis=1) - shares.max(axis=1)).sum()) / n_classes,
        n_opposed=int(opposed.sum()),
        n_test=len(tested),
    )
