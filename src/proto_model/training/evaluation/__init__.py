"""How good a model is on rows that it has not seen: metrics, figures and the model card."""

from proto_model.training.evaluation.card import Verdict, judge, library_versions, model_card
from proto_model.training.evaluation.markdown import markdown_table
from proto_model.training.evaluation.metrics import (
    CLASS_METRICS,
    METRICS,
    classification_metrics,
    metric_suffixes,
    metrics_by_group,
    permutation_importance,
)

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "Verdict",
    "classification_metrics",
    "judge",
    "library_versions",
    "markdown_table",
    "metric_suffixes",
    "metrics_by_group",
    "model_card",
    "permutation_importance",
]
