"""Models beside the forests that show what to expect: two floors and a yardstick.

They are judged by the same folds and test rows, and are neither logged nor registered. The class frequencies
and the linear model are floors: a forest that is no better has not earned its size. Gradient boosting is a
yardstick: what it reaches beyond the forests is left on the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from proto_model.schema import ModelSchema
from proto_model.table import TrainingData
from proto_model.training.encoding import ExpandingEncoder, make_encoder
from proto_model.training.selection import scoring
from proto_model.training.selection.cross_validation import FoldRows
from proto_model.training.selection.result import FoldScores, Reference
from proto_model.values import encode

FREQUENCIES, LINEAR, BOOSTING = "class frequencies", "linear model", "gradient boosting"

_MOST_TREES = 300  # of gradient boosting: it grows one per class and iteration
_MOST_ITERATIONS = 60
_MOST_LEVELS = 255  # categories of a column that gradient boosting takes as such
_MOST_COLUMNS = 100  # of a column's categories in the linear model
_MANY_ROWS = 1_000  # from here on, a tenth of them may say when to stop


@dataclass(frozen=True)
class _Kind:
    name: str
    is_yardstick: bool
    make: Callable[[ModelSchema, NDArray[np.int64], int], Any]  # for classes to learn and a seed, not fitted


def judged_references(rows: FoldRows, random_state: int) -> tuple[Reference, ...]:
    """Each reference on the folds of the training rows, and on the test rows after learning from all."""
    data = rows.data
    known, new = _coded(data)
    y_new = np.searchsorted(np.unique(data.y_train), data.y_test)
    with threadpool_limits(1):  # the forests have the other cores, and sums depend on the number of threads
        return tuple(_judged(kind, rows, (known, new, y_new), random_state) for kind in _KINDS)


def _coded(data: TrainingData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Training and test rows: codes and numbers, then what the forests are told of dates and texts."""
    schema = data.schema
    known, new = encode(data.X_train, schema), encode(data.X_test, schema)
    is_text = [feature.type == "text" for feature in schema.features]
    known[:, is_text] = new[:, is_text] = 0  # the code of a text is no number
    encoder = make_encoder(schema)
    if not isinstance(encoder, ExpandingEncoder):
        return known, new
    more, more_new = encoder.fit_transform(data.X_train), encoder.transform(data.X_test)
    return np.column_stack([known, more]), np.column_stack([new, more_new])


def _judged(
    kind: _Kind,
    rows: FoldRows,
    coded: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
    random_state: int,
) -> Reference:
    begin = time.perf_counter()
    (X, X_new, y_new), y = coded, rows.y

    def probabilities(learn: NDArray[np.int64] | slice, X_judge: NDArray[np.float64]) -> NDArray[np.float64]:
        classes, codes = np.unique(y[learn], return_inverse=True)
        model = kind.make(rows.data.schema, codes, random_state) if len(classes) > 1 else DummyClassifier()
        found = np.zeros((len(X_judge), rows.n_classes))
        found[:, classes] = model.fit(X[learn], codes).predict_proba(X_judge)
        return found

    folds = [scoring.scores(y[judge], probabilities(learn, X[judge])) for learn, judge in rows.folds]
    by_metric = {name: np.array([fold[name] for fold in folds]) for name in folds[0]}
    test = scoring.scores(y_new, probabilities(slice(None), X_new))
    return Reference(
        name=kind.name,
        is_yardstick=kind.is_yardstick,
        folds=FoldScores(by_metric, rows.weights),
        test_metrics={name: value for name, value in test.items() if np.isfinite(value)},
        fit_seconds=time.perf_counter() - begin,
    )


def _categorical(schema: ModelSchema) -> NDArray[np.bool_]:
    return np.array([feature.categories is not None for feature in schema.features])


def _linear_model(schema: ModelSchema, y: NDArray[np.int64], random_state: int) -> Any:
    """Logistic regression on scaled numbers, medians for missing ones, and a column per category."""
    is_category = _categorical(schema)
    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_MOST_COLUMNS)
    columns = [
        ("numbers", numbers, lambda X: np.setdiff1d(np.arange(X.shape[1]), np.flatnonzero(is_category))),
        ("categories", categories, np.flatnonzero(is_category)),
    ]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression(tol=1e-3, max_iter=2000))


def _gradient_boosting(schema: ModelSchema, y: NDArray[np.int64], random_state: int) -> Any:
    """Histogram-based gradient boosting with few trees; it stops early where there are rows to say when."""
    counts = np.bincount(y)
    n_trees = 1 if len(counts) == 2 else len(counts)
    levels = np.array([len(feature.categories or ()) for feature in schema.features])
    return HistGradientBoostingClassifier(
        max_iter=max(10, min(_MOST_ITERATIONS, _MOST_TREES // n_trees)),
        learning_rate=0.15,
        max_leaf_nodes=8,
        early_stopping=len(y) >= _MANY_ROWS and counts.min() >= _MOST_LEVELS // 10,
        n_iter_no_change=5,
        categorical_features=np.flatnonzero(_categorical(schema) & (levels <= _MOST_LEVELS)),
        random_state=random_state,
    )


_KINDS = (
    _Kind(FREQUENCIES, False, lambda schema, y, random_state: DummyClassifier()),
    _Kind(LINEAR, False, _linear_model),
    _Kind(BOOSTING, True, _gradient_boosting),
)
