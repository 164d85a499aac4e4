"""The TANGO interfaces that this package implements.

Name by name, those of the package `tango_interfaces` are the bases where it is installed and has one that can
be implemented, and those below where not; `INTERFACES` says which was taken, and why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypedDict

PACKAGE = "tango_interfaces"


@dataclass(frozen=True)
class Interface:
    """Where a name comes from; `complaint` says why not from `tango_interfaces`, if that is installed."""

    name: str
    origin: str
    complaint: str = ""


INTERFACES: list[Interface] = []


def _installed() -> tuple[Any, str]:
    """The package, and what went wrong when it was imported."""
    if find_spec(PACKAGE) is None:
        return None, ""
    try:
        return import_module(PACKAGE), ""
    except Exception as error:  # whatever the code of others raises; the mapper works without it
        return None, f"importing it failed: {type(error).__name__}: {error}"


_PACKAGE, _FAILURE = _installed()


def _chosen(ours: type, *methods: str) -> Any:
    """The installed class of this name, unless a class with just these methods cannot implement it."""
    name, theirs = ours.__name__, getattr(_PACKAGE, ours.__name__, None)
    complaint = _FAILURE
    if _PACKAGE is not None:
        if theirs is None:
            complaint = "it lacks this name"
        elif not isinstance(theirs, type):
            complaint = f"it has a {type(theirs).__name__} of this name, not a class"
        elif issubclass(ours, Enum):
            missing = [member for member in methods if member not in getattr(theirs, "__members__", ())]
            complaint = f"its members lack {', '.join(missing)}" if missing else ""
        elif further := sorted(getattr(theirs, "__abstractmethods__", frozenset()) - {*methods}):
            complaint = f"it has abstract methods that this mapper lacks: {', '.join(further)}"
    is_theirs = theirs is not None and not complaint
    INTERFACES.append(Interface(name, PACKAGE if is_theirs else "mapper", complaint))
    return theirs if is_theirs else ours


def interfaces_text() -> list[str]:
    """A line for each name that an installed `tango_interfaces` could not give, for people."""
    return [
        f"{PACKAGE} has no usable {interface.name}: {interface.complaint}. The mapper's own one is the base."
        for interface in INTERFACES
        if interface.complaint
    ]


def installed_version() -> str | None:
    """Version of the installed `tango_interfaces`, empty if it has none; None if it is not installed."""
    if find_spec(PACKAGE) is None:
        return None
    try:
        return version(PACKAGE.replace("_", "-"))
    except PackageNotFoundError:
        return str(getattr(_PACKAGE, "__version__", ""))


class RequestType(StrEnum):
    """What a model server is asked for."""

    PREDICT = "predict"
    EXPLAIN = "explain"


class WorkingSession(TypedDict, total=False):
    """The session that a request belongs to; it comes back with the answer, whatever it holds."""

    id: str
    user_id: str
    model_key: dict[str, str]
    workspace: str
    state: str


class TangoModel(ABC):
    """Translates between an application and one model."""

    @abstractmethod
    def map_request(self, tango_request: Any, session: Any = None) -> object:
        """The model server's request for an application's one."""

    @abstractmethod
    def map_response(self, response: Any) -> Any:
        """What the application gets for a model server's answer."""


if not TYPE_CHECKING:
    RequestType = _chosen(RequestType, "PREDICT")
    TangoModel = _chosen(TangoModel, "map_request", "map_response")


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
    def invoke(self, request_type: Any, payload: Any) -> dict[str, Any]:
        """Send a mapped request; give the model server's answer."""


class TangoModelRegistryConnector(ABC):
    """Fetches models from a registry."""

    @abstractmethod
    def get_model(self, model_uri: str) -> TangoModel:
        """The model behind a URI, ready to map requests."""


if not TYPE_CHECKING:
    ExplainableTangoModel = _chosen(
        ExplainableTangoModel, "map_request", "map_response", "get_explainer", "set_explainer"
    )
    TangoModelServerProxy = _chosen(TangoModelServerProxy, "get_model_server_url", "invoke")
    TangoModelRegistryConnector = _chosen(TangoModelRegistryConnector, "get_model")
