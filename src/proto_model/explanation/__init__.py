"""Why the model gave a row its class: rules, counterfactuals, importances, and how far to trust them."""

from proto_model.explanation.interface import (
    ENGINES,
    Explainer,
    ExplainOptions,
    FrameModel,
    PredictProba,
    Progress,
    make_explainer,
)
from proto_model.explanation.processes import ProcessExplainer

__all__ = [
    "ENGINES",
    "ExplainOptions",
    "Explainer",
    "FrameModel",
    "PredictProba",
    "ProcessExplainer",
    "Progress",
    "make_explainer",
]
