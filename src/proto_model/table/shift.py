"""Whether training and test rows differ: a classifier that is asked which part a row is in.

It learns from one half of the rows and answers for the other, in both directions. Where the parts do not
differ, the rows it answers for come in any order alike, so the rank test of Mann and Whitney (1947) has its
exact error rate, whatever the classifier learned; the smaller of the two p-values counts twice.
D. Lopez-Paz and M. Oquab, "Revisiting Classifier Two-Sample Tests", 2017. https://arxiv.org/abs/1610.06545
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from sklearn.ensemble import ExtraTreesClassifier

from proto_model.table.identity import RowIds
from proto_model.table.training_data import TrainingData
from proto_model.values import encode

LEVEL = 0.01
"""How often rows that do not differ are said to."""

_MAX_ROWS = 2000  # of each part
_LEAST_ROWS = 20
_N_TREES = 40
_MAX_NAMED = 3


@dataclass(frozen=True)
class Shift:
    """How well training rows are told from test rows: area under the ROC curve, p-value, telling features."""

    auc: float
    p_value: float
    columns: tuple[str, ...]


def shift(data: TrainingData, random_state: int = 0) -> Shift | None:
    """How the parts differ; None when there is no sign of it, or too few rows to see one."""
    generator = np.random.default_rng(random_state)
    frames = [
        _sample(frame, _units(data, hashes, ids), generator)
        for frame, hashes, ids in (
            (data.X_train, data.train_hashes, data.train_ids),
            (data.X_test, data.test_hashes, data.test_ids),
        )
    ]
    if min(map(len, frames)) < _LEAST_ROWS:
        return None
    X = np.vstack([encode(frame, data.schema) for frame in frames]).astype(np.float32)
    is_test = np.repeat([0, 1], [len(frame) for frame in frames])
    return _between(X, is_test, data.schema.feature_names, generator)


def _units(data: TrainingData, hashes: NDArray[np.uint64], ids: RowIds) -> NDArray[np.uint64]:
    """What the split keeps together: rows of a group, of the same features, or equal ones."""
    if ids.group is not None:
        return ids.group
    if data.split_by.rule == "features" and ids.features is not None:
        return ids.features
    return hashes


def _sample(frame: pd.DataFrame, units: NDArray[np.uint64], generator: np.random.Generator) -> pd.DataFrame:
    """Some rows of a part; of those that the split keeps together, one."""
    shuffled = generator.permutation(len(units))
    one_each = shuffled[np.unique(units[shuffled], return_index=True)[1]]
    if len(one_each) > _MAX_ROWS:
        one_each = generator.choice(one_each, _MAX_ROWS, replace=False)
    return frame.iloc[np.sort(one_each)]


def _between(
    X: NDArray[np.float32], is_test: NDArray[np.int64], names: list[str], generator: np.random.Generator
) -> Shift | None:
    half = np.empty(len(is_test), dtype=np.int64)
    for part in (0, 1):
        rows = np.flatnonzero(is_test == part)
        half[rows] = generator.permutation(len(rows)) % 2
    p_values, areas, importance = [], [], np.zeros(X.shape[1])
    for learned in (0, 1):
        judge = ExtraTreesClassifier(
            _N_TREES, min_samples_leaf=5, class_weight="balanced", n_jobs=1, random_state=learned
        )
        judge.fit(X[half == learned], is_test[half == learned])
        scores = judge.predict_proba(X[half != learned])[:, 1]
        answers = is_test[half != learned]
        test = mannwhitneyu(
            scores[answers == 1], scores[answers == 0], alternative="greater", method="asymptotic"
        )
        p_values.append(float(test.pvalue))
        areas.append(float(test.statistic) / (answers == 1).sum() / (answers == 0).sum())
        importance += judge.feature_importances_
    p_value = min(1.0, 2 * min(p_values))
    if p_value >= LEVEL:
        return None
    telling = np.argsort(-importance, kind="stable")[:_MAX_NAMED]
    told = tuple(names[column] for column in telling if importance[column] > 2 * importance.mean())
    return Shift(float(np.mean(areas)), p_value, told)
