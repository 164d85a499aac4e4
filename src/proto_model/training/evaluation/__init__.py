"""How good a model is on rows that it has not seen: metrics, figures and the model card."""

from proto_model.training.evaluation.card import cell, library_versions, model_card
from proto_model.training.evaluation.metrics import (
    CLASS_METRICS,
    METRICS,
    Metric,
    classification_metrics,
    metric_suffixes,
    metrics_by_group,
    permutation_importance,
)
from proto_model.training.evaluation.verdict import Verdict, judge

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "Metric",
    "Verdict",
    "cell",
    "classification_metrics",
    "judge",
    "library_versions",
    "metric_suffixes",
    "metrics_by_group",
    "model_card",
    "permutation_importance",
]
