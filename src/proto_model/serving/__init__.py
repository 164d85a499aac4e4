"""The served models: what is in their artifact, how requests are checked, how answers look.

Importing this package loads neither mlflow nor pandas nor scikit-learn; they come in with the names that need
them, so that a server without them can use the bundle and the validation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from proto_model.serving.bundle import ForestModel, background_rows, write_bundle

if TYPE_CHECKING:
    from proto_model.serving.logged_model import log_explainer, log_forest_model

__all__ = ["ForestModel", "background_rows", "log_explainer", "log_forest_model", "write_bundle"]

_HOME = {"log_explainer": "logged_model", "log_forest_model": "logged_model"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
