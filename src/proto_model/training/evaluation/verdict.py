"""What the test rows say about a searched variant: metrics, tables, figures and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from proto_model.forest.pipeline import compiled_forest
from proto_model.table import TrainingData, encode
from proto_model.training.evaluation import plots
from proto_model.training.evaluation.card import class_names, model_card
from proto_model.training.evaluation.metrics import (
    classification_metrics,
    metrics_by_group,
    permutation_importance,
)
from proto_model.training.search import SearchResult


@dataclass(frozen=True)
class Verdict:
    """What the test rows say about a variant; plots are by file name, the card is Markdown."""

    metrics: Mapping[str, float]
    importances: pd.DataFrame
    groups: pd.DataFrame
    plots: Mapping[str, Figure]
    card: str


def judge(result: SearchResult, data: TrainingData, random_state: int) -> Verdict:
    """Verdict of the test rows on the pipeline that a search found in the same data."""
    schema, pipeline = data.schema, result.pipeline
    labels = class_names(schema)
    y = np.searchsorted(pipeline.classes_, data.y_test)
    probabilities = pipeline.predict_proba(data.X_test)
    predicted = probabilities.argmax(axis=1)
    forest = compiled_forest(pipeline, schema)
    metrics = classification_metrics(y, probabilities, labels)
    importances = permutation_importance(
        forest.predict_proba, encode(data.X_test, schema), y, schema.feature_names, random_state=random_state
    )
    groups = metrics_by_group(_groupings(data), y, predicted, len(labels))
    scores, stds = (result.table[name].to_numpy() for name in ("cv_balanced_accuracy", "cv_std"))
    figures = {
        "confusion_matrix.png": plots.confusion_matrix_plot(y, predicted, labels),
        "roc_curve.png": plots.roc_plot(y, probabilities, labels),
        "precision_recall_curve.png": plots.precision_recall_plot(y, probabilities, labels),
        "calibration_curve.png": plots.calibration_plot(y, probabilities, labels),
        "permutation_importance.png": plots.importance_plot(importances),
        "search.png": plots.search_plot(scores, stds),
    }
    card = model_card(result, data, metrics, importances, groups)
    return Verdict(metrics, importances, groups, figures, card)


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
