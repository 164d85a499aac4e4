"""Rows that are scored once, when the explainer is built, and looked up for every explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.interface import PredictProba
from proto_model.explanation.lore.bins import Bins
from proto_model.explanation.measures import draw_marginals

__all__ = ["Pool"]

MAX_POOL = 12000
MAX_VALUES = 2_000_000
CHUNK = 5000


@dataclass(frozen=True, eq=False)
class Pool:
    """The background and a sample of rows with independent features, each with the model's answer.

    Parameters
    ----------
    bins : Bins
        Numbering of the bins.
    codes : ndarray of shape (n_rows, n_features)
        Bins of the independent rows. Every `MARGINAL`-th one has its values as often as the background has;
        in the others, half of the numbers are uniform in their range.
    labels, probabilities : ndarray of shape (n_rows,) and (n_rows, n_classes)
        The model's answer to them.
    real_codes, real_labels
        The same for the background's rows.
    """

    MARGINAL: ClassVar[int] = 2

    bins: Bins
    codes: NDArray[np.int32]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    real_codes: NDArray[np.int32]
    real_labels: NDArray[np.int64]

    @classmethod
    def build(cls, background: Background, predict_proba: PredictProba, seed: int = 0) -> Pool:
        """Draw the rows and ask the model, in a few large calls."""
        bins = Bins.of(background)
        n_rows = int(min(MAX_POOL, max(1000, MAX_VALUES // background.n_features)))
        rng = np.random.Generator(np.random.SFC64(seed))
        X = draw_marginals(background, n_rows, rng)
        uniform = background.low + rng.random(X.shape) * (background.high - background.low)
        uniform = np.where(background.whole, np.round(uniform), uniform)
        swap = background.numeric & (rng.random(X.shape) < 0.5) & ~np.isnan(X) & ~np.isnan(uniform)
        swap[:: cls.MARGINAL] = False
        X = np.where(swap, uniform, X)
        probabilities = np.concatenate(
            [predict_proba(X[start : start + CHUNK]) for start in range(0, n_rows, CHUNK)]
        )
        return cls(
            bins=bins,
            codes=bins(X).astype(np.int32),
            labels=probabilities.argmax(axis=1),
            probabilities=probabilities,
            real_codes=bins(background.matrix).astype(np.int32),
            real_labels=predict_proba(background.matrix).argmax(axis=1),
        )
