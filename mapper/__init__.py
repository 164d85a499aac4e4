"""The client's side: checks and translates requests, calls the model server, translates answers.

It knows the model by its `schema.json` alone, and loads none of the model's libraries.
"""

from mapper.answer import ModelAnswer, TangoResponse
from mapper.errors import InvalidRequestError, MapperError
from mapper.interfaces import (
    ExplainableTangoModel,
    TangoModel,
    TangoModelRegistryConnector,
    TangoModelServerProxy,
)
from mapper.model import TabularExplainer, TabularModel
from mapper.proxy import ModelServerProxy
from mapper.registry import MlflowRegistryConnector
from mapper.request import ModelRequest, TangoRequest
from mapper.schema import ModelSchema

__all__ = [
    "ExplainableTangoModel",
    "InvalidRequestError",
    "MapperError",
    "MlflowRegistryConnector",
    "ModelAnswer",
    "ModelRequest",
    "ModelSchema",
    "ModelServerProxy",
    "TabularExplainer",
    "TabularModel",
    "TangoModel",
    "TangoModelRegistryConnector",
    "TangoModelServerProxy",
    "TangoRequest",
    "TangoResponse",
]
