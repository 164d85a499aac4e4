"""The client's side: checks and translates requests, calls the model server, translates answers.

It knows the model by its `schema.json` alone, and loads none of the model's libraries.
"""

from mapper.application.model import MappedModel, check_mapping
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
    "ExplainableTangoModel",
    "InvalidRequestError",
    "MappedModel",
    "MapperError",
    "MlflowRegistryConnector",
    "ModelAnswer",
    "ModelRequest",
    "ModelSchema",
    "ModelServerProxy",
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
