"""The folds of cross-validation: which training rows to learn from, and which to judge on."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from proto_model.table.training_data import TrainingData

_N_FOLDS = 5
_N_FOLDS_LARGE = 3  # enough where a fold's score hardly varies, and it halves the time
_LARGE_ROWS = 10_000

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of training rows: those to learn from, and those to judge on."""


def folds(data: TrainingData, random_state: int) -> list[Fold]:
    """Folds of the training rows; five, or three from 10,000 rows on, fewer when a class has fewer rows."""
    codes = np.unique(data.y_train, return_inverse=True)[1]
    most = _N_FOLDS if len(codes) < _LARGE_ROWS else _N_FOLDS_LARGE
    n_folds = int(np.clip(np.bincount(codes).min(), 2, most))
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # A class of one row is learned from in one fold and judged in the other.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(codes, codes))
