"""Versions as model sources for ModelOp: write one, and what its functions call when it runs.

Importing this loads neither MLflow nor pandas.
"""

from proto_model.deployment.modelop.model import OwnModel, load_model

__all__ = ["OwnModel", "load_model"]
