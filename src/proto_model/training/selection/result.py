"""What a search found, and what stood beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from proto_model.training.selection import choice
from proto_model.training.selection.choice import DEFAULT_METRIC


@dataclass(frozen=True)
class FoldScores:
    """Every metric on the rows that each fold judged: arrays over the folds, and their numbers of rows."""

    by_metric: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def mean(self, metric: str) -> float:
        """Mean over the folds, each with the weight of its rows; NaN where it is not defined."""
        if metric not in self.by_metric:
            return float("nan")
        return float(choice.mean(self.by_metric[metric], self.weights))

    @property
    def means(self) -> dict[str, float]:
        """Every metric that is defined in at least one fold."""
        means = {metric: self.mean(metric) for metric in self.by_metric}
        return {metric: value for metric, value in means.items() if np.isfinite(value)}


@dataclass(frozen=True)
class Reference:
    """A model that shows what to expect; it is neither logged nor registered, and nothing serves it."""

    name: str
    is_yardstick: bool  # something to reach, not a floor
    folds: FoldScores
    test_metrics: Mapping[str, float]
    fit_seconds: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found: the chosen candidate, fitted on all training rows, and its scores over the folds.

    The table has a row per candidate, the first being the variant's defaults: `candidate`, `chosen`,
    `cv_balanced_accuracy`, `cv_std`, means of other metrics, `n_trees` that voted (fewer than the forest has
    if it fell behind), `n_nodes` of a fold's forest, `fit_seconds`, a column per parameter, and `fold_0`,
    `fold_1`, ... with the metric that chooses.

    `out_of_fold` has the chosen candidate's probabilities for the training rows, shape (n_train, n_classes),
    each from the fold that had not learned from the row; NaN in rows that no fold judges. `references` are
    the same for all variants.
    """

    variant: str
    pipeline: Pipeline
    best_params: dict[str, Any]
    cv_balanced_accuracy: float
    cv_std: float
    table: pd.DataFrame
    fit_seconds: float
    out_of_fold: NDArray[np.float64]
    metric: str = DEFAULT_METRIC
    folds: FoldScores = field(default_factory=FoldScores)
    n_nodes: float = 0.0
    references: tuple[Reference, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether there was no search: the pipeline was fitted elsewhere."""
        return self.table.empty

    @classmethod
    def given(cls, variant: str, pipeline: Pipeline, params: dict[str, Any], n_rows: int) -> SearchResult:
        """A pipeline that was fitted elsewhere, on so many rows."""
        nan = float("nan")
        nothing = np.full((n_rows, len(pipeline.classes_)), nan)
        return cls(variant, pipeline, params, nan, nan, pd.DataFrame(), nan, nothing)
