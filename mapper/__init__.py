"""The client's side: checks and translates requests, calls the model server, translates answers.

It knows the model by its `schema.json` alone, and loads none of the model's libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mapper.application.model import MappedModel, check_mapping
    from mapper.client.service import AsyncClient, Client, ProblemError
    from mapper.errors import InvalidRequestError, MapperError
    from mapper.mapping.answer import ModelAnswer, TangoResponse
    from mapper.mapping.interfaces import (
        ExplainableTangoModel,
        RequestType,
        TangoModel,
        TangoModelRegistryConnector,
        TangoModelServerProxy,
        WorkingSession,
    )
    from mapper.mapping.model import TabularExplainer, TabularModel
    from mapper.mapping.request import ModelRequest, TangoRequest
    from mapper.mapping.schema import ModelSchema
    from mapper.model_server.proxy import ModelServerProxy
    from mapper.registry import MlflowRegistryConnector

__all__ = [
    "AsyncClient",
    "Client",
    "ExplainableTangoModel",
    "InvalidRequestError",
    "MappedModel",
    "MapperError",
    "MlflowRegistryConnector",
    "ModelAnswer",
    "ModelRequest",
    "ModelSchema",
    "ModelServerProxy",
    "Picture",
    "ProblemError",
    "RequestType",
    "TabularExplainer",
    "TabularModel",
    "TangoModel",
    "TangoModelRegistryConnector",
    "TangoModelServerProxy",
    "TangoRequest",
    "TangoResponse",
    "WorkingSession",
    "__version__",
    "check_mapping",
]

__version__ = "0.4.0"

# Loaded when they are asked for: `python -m mapper` has to be able to say that a library is missing.
_HOMES = {
    "AsyncClient": "mapper.client.service",
    "Client": "mapper.client.service",
    "Picture": "mapper.client.picture",
    "ProblemError": "mapper.client.service",
    "MappedModel": "mapper.application.model",
    "check_mapping": "mapper.application.model",
    "InvalidRequestError": "mapper.errors",
    "MapperError": "mapper.errors",
    "ModelAnswer": "mapper.mapping.answer",
    "TangoResponse": "mapper.mapping.answer",
    "ExplainableTangoModel": "mapper.mapping.interfaces",
    "RequestType": "mapper.mapping.interfaces",
    "TangoModel": "mapper.mapping.interfaces",
    "TangoModelRegistryConnector": "mapper.mapping.interfaces",
    "TangoModelServerProxy": "mapper.mapping.interfaces",
    "WorkingSession": "mapper.mapping.interfaces",
    "TabularExplainer": "mapper.mapping.model",
    "TabularModel": "mapper.mapping.model",
    "ModelRequest": "mapper.mapping.request",
    "TangoRequest": "mapper.mapping.request",
    "ModelSchema": "mapper.mapping.schema",
    "ModelServerProxy": "mapper.model_server.proxy",
    "MlflowRegistryConnector": "mapper.registry",
}


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mapper' has no attribute {name!r}")
