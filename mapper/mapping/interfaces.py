"""The TANGO interfaces that this package implements.

Those of `tango_interfaces` are the bases where that package is installed, and those below where it is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__all__ = ["ExplainableTangoModel", "TangoModel", "TangoModelRegistryConnector", "TangoModelServerProxy"]


class TangoModel(ABC):
    """Translates between an application and one model."""

    @abstractmethod
    def map_request(self, tango_request: Any, session: Any = None) -> object:
        """The model server's request for an application's one."""

    @abstractmethod
    def map_response(self, response: Any) -> Any:
        """What the application gets for a model server's answer."""


class ExplainableTangoModel(TangoModel):
    """A model whose predictions can be explained."""

    @abstractmethod
    def get_explainer(self, **kwargs: Any) -> TangoModel:
        """The model that explains this one."""

    @abstractmethod
    def set_explainer(self, explainer: TangoModel) -> None:
        """Explain this model by another one from now on."""


class TangoModelServerProxy(ABC):
    """Calls a model server."""

    @abstractmethod
    def get_model_server_url(self) -> str:
        """Where the model server listens."""

    @abstractmethod
    def invoke(self, request_type: str, payload: Any) -> dict[str, Any]:
        """Send a mapped request; give the model server's answer."""


class TangoModelRegistryConnector(ABC):
    """Fetches models from a registry."""

    @abstractmethod
    def get_model(self, model_uri: str) -> TangoModel:
        """The model behind a URI, ready to map requests."""


if not TYPE_CHECKING and find_spec("tango_interfaces") is not None:
    from tango_interfaces import (
        ExplainableTangoModel,
        TangoModel,
        TangoModelRegistryConnector,
        TangoModelServerProxy,
    )
