"""Versions and aliases in MLflow's model registry, and the champion's two moves: promotion and rollback.

MLflow moves one alias at a time and knows no compare-and-swap. So each move checks the aliases right before
and right after, and sets them in such an order that a crash at any point leaves a champion behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from proto_model.errors import RegistryError

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"

REPLACED_VERSION_TAG = "replaced_version"
"""Tag of a version that became champion: the version it took the place of. Rollback goes back along it."""


@dataclass(frozen=True)
class Aliases:
    """Versions behind the three aliases of a registered model at one moment; None if not set."""

    champion: str | None = None
    challenger: str | None = None
    previous_champion: str | None = None


Found = TypeVar("Found")


def found(get: Callable[..., Found], *names: str) -> Found | None:
    """What a call of MLflow's client returns; None if it does not exist."""
    try:
        return get(*names)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def explainer_name(model_name: str) -> str:
    """Registered model of the explainers that belong to a registered model."""
    return f"{model_name}_explainer"


def register_version(
    model_uri: str,
    name: str,
    *,
    run_id: str | None = None,
    description: str = "",
    tags: Mapping[str, object] | None = None,
    alias: str | None = None,
    client: MlflowClient | None = None,
) -> ModelVersion:
    """New version of the registered model `name`, which is created when it does not exist yet.

    `model_uri` is that of a logged model, `models:/m-...`, and `run_id` the run that logged it. The alias is
    taken from the version that has it. Here and below, the default client is one for MLflow's current URIs.
    """
    client = client or MlflowClient()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    model_id = model_uri.removeprefix("models:/") if model_uri.startswith("models:/m-") else None
    version = client.create_model_version(
        name, model_uri, run_id, tags=dict(tags or {}), description=description, model_id=model_id
    )
    if model_id is not None:
        _link_logged_model(client, model_id, version)
    if alias is not None:
        client.set_registered_model_alias(name, alias, str(version.version))
    return version


def _link_logged_model(client: MlflowClient, model_id: str, version: ModelVersion) -> None:
    """Let the MLflow UI show the version on the logged model's page, as `mlflow.register_model` does."""
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    known.append({"name": version.name, "version": version.version})
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(known)})


def read_aliases(name: str, *, client: MlflowClient | None = None) -> Aliases:
    """Versions behind the aliases of a registered model, in one read; RegistryError if there is none."""
    client = client or MlflowClient()
    model = found(client.get_registered_model, name)
    if model is None:
        raise RegistryError(
            f"There is no registered model {name!r}. Train one, or check the name and MLFLOW_TRACKING_URI."
        )
    versions = {alias: str(version) for alias, version in model.aliases.items()}
    return Aliases(versions.get(CHAMPION), versions.get(CHALLENGER), versions.get(PREVIOUS_CHAMPION))


def set_alias(name: str, alias: str, version: str | int, *, client: MlflowClient | None = None) -> None:
    """Point an alias of a registered model at one of its versions."""
    (client or MlflowClient()).set_registered_model_alias(name, alias, str(version))


def version_of_alias(name: str, alias: str, *, client: MlflowClient | None = None) -> ModelVersion | None:
    """Version behind an alias; None when the model or the alias does not exist.

    A RegistryError says that the alias is set, but its version was deleted.
    """
    client = client or MlflowClient()
    model = found(client.get_registered_model, name)
    number = None if model is None else model.aliases.get(alias)
    if number is None:
        return None
    version = found(client.get_model_version, name, str(number))
    if version is None:
        raise RegistryError(
            f"Alias {alias!r} of {name!r} points at version {number}, which was deleted. "
            "Point the alias at another version or delete it."
        )
    return version


def check_unchanged(name: str, *, expected: Aliases, client: MlflowClient | None = None) -> None:
    """Raise RegistryError unless champion and challenger are still those that a decision was based on."""
    now = read_aliases(name, client=client)
    if (now.champion, now.challenger) != (expected.champion, expected.challenger):
        raise RegistryError(_changed(name, expected, now, "Nothing was changed; compare again."))


def promote(name: str, *, expected: Aliases, client: MlflowClient | None = None) -> Aliases:
    """Make the challenger the champion, and the old champion, if any, the `previous_champion`.

    Returns the aliases, read back after the move. A RegistryError says that champion and challenger are no
    longer the expected ones, which the decision was based on; nothing that somebody else moved is undone.
    """
    client = client or MlflowClient()
    challenger, champion = expected.challenger, expected.champion
    if challenger is None or challenger == champion:
        raise RegistryError(f"{name!r} has no challenger to promote.")
    check_unchanged(name, expected=expected, client=client)
    # The old champion is kept before the alias leaves it: a crash in between leaves it as champion, too.
    if champion is None:
        _delete_tag(client, name, challenger, REPLACED_VERSION_TAG)
    else:
        client.set_model_version_tag(name, challenger, REPLACED_VERSION_TAG, champion)
        client.set_registered_model_alias(name, PREVIOUS_CHAMPION, champion)
    meant = Aliases(challenger, challenger, champion)
    after = _make_champion(client, name, meant, "The later move stands; compare again.")
    if after.challenger == challenger:  # a newer challenger keeps its alias
        client.delete_registered_model_alias(name, CHALLENGER)
    return read_aliases(name, client=client)


def rollback(name: str, *, expected: Aliases, client: MlflowClient | None = None) -> Aliases:
    """Undo the last promotion: `previous_champion` is champion again; parameters as for `promote`.

    The champion before that one, if any, is `previous_champion` again; a second rollback goes back to it.
    The version that loses its place keeps no alias, so that a scheduled comparison does not promote it again.
    """
    client = client or MlflowClient()
    champion, previous = expected.champion, version_to_restore(name, expected)
    now = read_aliases(name, client=client)
    if (now.champion, now.previous_champion) != (champion, previous):
        raise RegistryError(
            _changed(name, expected, now, "Nothing was changed; check the aliases and try again.")
        )

    before_previous = client.get_model_version(name, previous).tags.get(REPLACED_VERSION_TAG)
    _make_champion(client, name, Aliases(previous), "The later move stands.")
    if before_previous is not None and found(client.get_model_version, name, before_previous) is not None:
        client.set_registered_model_alias(name, PREVIOUS_CHAMPION, before_previous)
    else:
        client.delete_registered_model_alias(name, PREVIOUS_CHAMPION)
    if champion is not None and found(client.get_model_version, name, champion) is not None:
        _delete_tag(client, name, champion, REPLACED_VERSION_TAG)
    return read_aliases(name, client=client)


def version_to_restore(name: str, aliases: Aliases) -> str:
    """Version that a rollback makes champion again; RegistryError if there is no promotion to undo."""
    previous = aliases.previous_champion
    if previous is None or previous == aliases.champion:
        raise RegistryError(
            f"There is no promotion of {name!r} to undo: the alias {PREVIOUS_CHAMPION} is "
            f"{'not set' if previous is None else 'on the champion itself'}."
        )
    return previous


def _make_champion(client: MlflowClient, name: str, meant: Aliases, advice: str) -> Aliases:
    """Point the alias `champion` at a version and make sure that it stays there; the aliases read back."""
    client.set_registered_model_alias(name, CHAMPION, str(meant.champion))
    after = read_aliases(name, client=client)
    if after.champion != meant.champion:
        raise RegistryError(_changed(name, meant, after, advice))
    return after


def _delete_tag(client: MlflowClient, name: str, version: str, key: str) -> None:
    if key in client.get_model_version(name, version).tags:
        client.delete_model_version_tag(name, version, key)


def _changed(name: str, expected: Aliases, now: Aliases, advice: str) -> str:
    return (
        f"Somebody else moved the aliases of {name!r} in the meantime: {_shown(now)} now, "
        f"{_shown(expected)} expected. {advice}"
    )


def _shown(aliases: Aliases) -> str:
    return ", ".join(
        f"{alias} {'not set' if version is None else f'version {version}'}"
        for alias, version in asdict(aliases).items()
    )
