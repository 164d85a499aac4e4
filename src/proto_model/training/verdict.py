"""A searched variant judged on the test rows: figures, tables, plots and its model card."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from proto_model.table import TrainingData, encode
from proto_model.training import SearchResult, compiled_forest
from proto_model.training.evaluation import (
    CardFacts,
    calibration_plot,
    classification_metrics,
    confusion_matrix_plot,
    importance_plot,
    metric_suffixes,
    metrics_by_group,
    model_card,
    permutation_importance,
    precision_recall_plot,
    roc_plot,
    search_plot,
)

__all__ = ["Verdict", "judge", "library_versions"]

_LIBRARIES = ("mlflow", "scikit-learn", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True)
class Verdict:
    """What the test rows say about a variant.

    Parameters
    ----------
    metrics : mapping
        Metric name to value.
    importances, groups : DataFrame
        As `permutation_importance` and `metrics_by_group` give them.
    plots : mapping
        File name to figure.
    card : str
        Markdown.
    """

    metrics: Mapping[str, float]
    importances: pd.DataFrame
    groups: pd.DataFrame
    plots: Mapping[str, Figure]
    card: str


def judge(result: SearchResult, data: TrainingData, random_state: int) -> Verdict:
    """Verdict of the test rows on the pipeline that a search found.

    Parameters
    ----------
    result : SearchResult
        With the pipeline fitted on the training rows.
    data : TrainingData
        The same that was searched on.
    random_state : int
        Seed of the permutations.

    Returns
    -------
    Verdict
    """
    schema, pipeline = data.schema, result.pipeline
    labels = [name.removeprefix("probability_") for name in schema.probability_columns]
    suffixes = metric_suffixes(labels)
    y = np.searchsorted(pipeline.classes_, data.y_test)
    probabilities = pipeline.predict_proba(data.X_test)
    predicted = probabilities.argmax(axis=1)

    forest = compiled_forest(pipeline, schema)
    metrics = classification_metrics(y, probabilities, labels)
    importances = permutation_importance(
        forest.predict_proba, encode(data.X_test, schema), y, schema.feature_names, random_state=random_state
    )
    groupings = _groupings(data)
    groups = metrics_by_group(groupings, y, predicted, len(labels), list(groupings.columns))
    card = model_card(
        CardFacts(
            schema=schema,
            variant=result.variant,
            dataset=data.name,
            source=data.source,
            class_rows=_class_rows(data, labels),
            split_digest=data.split_digest,
            dropped=[(column.name, column.reason) for column in data.dropped],
            best_params=result.best_params,
            n_candidates=len(result.table),
            cv_balanced_accuracy=result.cv_balanced_accuracy,
            cv_std=result.cv_std,
            metrics=metrics,
            suffixes=suffixes,
            importances=importances,
            groups=groups,
            versions=library_versions(),
        )
    )
    table = result.table
    plots = {
        "confusion_matrix.png": confusion_matrix_plot(y, predicted, labels),
        "roc_curve.png": roc_plot(y, probabilities, labels),
        "precision_recall_curve.png": precision_recall_plot(y, probabilities, labels),
        "calibration_curve.png": calibration_plot(y, probabilities, labels),
        "permutation_importance.png": importance_plot(importances),
        "search.png": search_plot(
            table["cv_balanced_accuracy"].to_numpy(), table["cv_std"].to_numpy(), default=0
        ),
    }
    return Verdict(metrics, importances, groups, plots, card)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a model depends on."""
    return {"Python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _groupings(data: TrainingData) -> pd.DataFrame:
    """Columns of the test rows to group by: texts as they are, booleans as JSON spells them."""
    spelt = {0.0: "false", 1.0: "true"}
    columns = {
        feature.name: data.X_test[feature.name].map(spelt)
        if feature.type == "boolean"
        else data.X_test[feature.name]
        for feature in data.schema.features
        if feature.type in ("boolean", "string")
    }
    return pd.DataFrame(columns, index=data.X_test.index)


def _class_rows(data: TrainingData, labels: list[str]) -> dict[object, tuple[int, int]]:
    return {
        label: (int((data.y_train == value).sum()), int((data.y_test == value).sum()))
        for label, value in zip(labels, data.schema.classes, strict=True)
    }
