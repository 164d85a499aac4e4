"""Errors for those who asked for what the registry does not have: what it has, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from proto_model.errors import UnknownNameError, listed
from proto_model.registry.tracking import without_credentials

__all__ = ["no_model", "no_version"]

_TRAIN = "python -m proto_model train"
_MOST = 10


def no_model(client: MlflowClient, name: str) -> UnknownNameError:
    """There is no registered model of a name."""
    store = without_credentials(client.tracking_uri)
    try:
        there = sorted(model.name for model in client.search_registered_models(max_results=1000))
    except MlflowException:  # a server may hide what others have
        there = []
    known = [other for other in there if not other.endswith("_explainer")]
    if not known:
        has = f"MLflow at {store} has none. Train one: {_TRAIN}"
    else:
        has = f"{_meant(name, known)}MLflow at {store} has {listed(known, _MOST)}. Type one of these names"
    return UnknownNameError(
        f"There is no registered model {name!r}. {has}, or set MLFLOW_TRACKING_URI to the store you mean."
    )


def no_version(
    client: MlflowClient, name: str, *, alias: str | None = None, number: str | None = None
) -> UnknownNameError:
    """A registered model has no version with an alias or of a number; or there is no such model."""
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        return no_model(client, name)
    if alias is not None:
        return UnknownNameError(_no_alias(model, alias))
    newest = max((int(version.version) for version in model.latest_versions), default=0)
    there = f"versions up to {newest}" if newest else "no version"
    return UnknownNameError(f"There is no version {number} of {name!r}, which has {there}. {_listing(name)}")


def _no_alias(model: RegisteredModel, alias: str) -> str:
    there = sorted(model.aliases)
    has = f"It has {listed(there, _MOST)}. " if there else "It has no alias. "
    option = "" if model.name == "proto_model" else f" --model {model.name}"
    if alias == "champion" and "challenger" in there:
        advice = f"To make the challenger champion, type: python -m proto_model compare{option}"
    elif alias == "challenger":
        advice = f"The next training makes one: {_TRAIN}"
    elif alias == "previous_champion":
        advice = "The second promotion sets it."
    else:
        advice = f"{_meant(alias, there)}{_listing(model.name)}"
    return f"{model.name!r} has no alias {alias!r}. {has}{advice}"


def _meant(given: str, known: Sequence[str]) -> str:
    near = get_close_matches(given, known, 1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _listing(name: str) -> str:
    return f"To list them, type: python -m proto_model versions list {name}"
