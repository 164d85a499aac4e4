"""How good a model is on rows that it has not seen: figures, plots and the model card.

Pure functions of class indices and probabilities; nothing here knows MLflow or the forest.
"""

from proto_model.training.evaluation.card import CardFacts, model_card
from proto_model.training.evaluation.curves import calibration_plot, precision_recall_plot, roc_plot
from proto_model.training.evaluation.groups import MAX_GROUPS, metrics_by_group
from proto_model.training.evaluation.importance import permutation_importance
from proto_model.training.evaluation.metrics import classification_metrics
from proto_model.training.evaluation.names import metric_suffixes
from proto_model.training.evaluation.plots import (
    confusion_matrix_plot,
    importance_plot,
    leaderboard_plot,
    search_plot,
)
from proto_model.training.evaluation.style import save

__all__ = [
    "MAX_GROUPS",
    "CardFacts",
    "calibration_plot",
    "classification_metrics",
    "confusion_matrix_plot",
    "importance_plot",
    "leaderboard_plot",
    "metric_suffixes",
    "metrics_by_group",
    "model_card",
    "permutation_importance",
    "precision_recall_plot",
    "roc_plot",
    "save",
    "search_plot",
]
