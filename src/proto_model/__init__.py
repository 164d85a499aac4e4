"""Train, explain, serve and promote a tabular forest model with MLflow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proto_model.registry.notebook import Registry

__all__ = ["Registry", "__version__"]

__version__ = "0.4.0"


def __getattr__(name: str) -> Any:
    """`Registry`, whose libraries are loaded when it is asked for."""
    if name == "Registry":
        return importlib.import_module("proto_model.registry.notebook").Registry
    raise AttributeError(f"module 'proto_model' has no attribute {name!r}")
