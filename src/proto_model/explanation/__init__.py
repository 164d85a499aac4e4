"""Why the model gave a row its class: rules, counterfactuals, importances, and how far to trust them."""

from proto_model.explanation.factory import ENGINES, make_explainer
from proto_model.explanation.interface import Explainer, FrameModel, PredictProba, Progress
from proto_model.explanation.processes import ProcessExplainer

__all__ = [
    "ENGINES",
    "Explainer",
    "FrameModel",
    "PredictProba",
    "ProcessExplainer",
    "Progress",
    "make_explainer",
]
