"""Versions and aliases in MLflow's model registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from proto_model.errors import RegistryError
from proto_model.registry.refusals import NotAllowedError

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"


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


def visible(get: Callable[..., Found], *names: str) -> Found | None:
    """The same, and None if this user may not see it: servers with basic-auth also hide what is gone."""
    try:
        return found(get, *names)
    except NotAllowedError:
        return None


def logged_model_id(source: str | None) -> str | None:
    """Id of the logged model that a version or a URI is of; None if it is of something else.

    Examples
    --------
    >>> logged_model_id("models:/m-0a1b"), logged_model_id("s3://models/churn")
    ('m-0a1b', None)
    """
    return source.removeprefix("models:/") if source and source.startswith("models:/m-") else None


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
    model_id = logged_model_id(model_uri)
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


def versions_of(
    client: MlflowClient, name: str | None, condition: str = "", *, page_size: int = 1000
) -> Iterator[ModelVersion]:
    """All versions of a registered model, for None of all models, the newest first.

    `condition` is a filter of MLflow's besides. MLflow's stores can be asked like a client.
    """
    conditions = [condition] if condition else []
    if name is not None:
        # MLflow's filters know no escapes; in a pattern, _ is any character.
        pattern = name.replace("'", "_")
        conditions.insert(0, f"name = '{name}'" if pattern == name else f"name LIKE '{pattern}'")
    wanted, token = " and ".join(conditions), None
    while True:
        page = client.search_model_versions(
            wanted, max_results=page_size, order_by=["version_number DESC"], page_token=token
        )
        yield from (version for version in page if name in (None, version.name))
        token = page.token
        if not token:
            return


def read_aliases(name: str, *, client: MlflowClient | None = None) -> Aliases:
    """Versions behind the aliases of a registered model; RegistryError if there is none."""
    return read_aliases_and_tags(name, client=client)[0]


def read_aliases_and_tags(
    name: str, *, client: MlflowClient | None = None
) -> tuple[Aliases, Mapping[str, str]]:
    """Versions behind the aliases of a registered model, and its tags, in one read."""
    client = client or MlflowClient()
    from proto_model.registry.unknown import no_model

    model = found(client.get_registered_model, name)
    if model is None:
        raise no_model(client, name)
    versions = {alias: str(version) for alias, version in model.aliases.items()}
    aliases = Aliases(versions.get(CHAMPION), versions.get(CHALLENGER), versions.get(PREVIOUS_CHAMPION))
    return aliases, dict(model.tags)


def set_alias(name: str, alias: str, version: str | int, *, client: MlflowClient | None = None) -> None:
    """Point an alias of a registered model at one of its versions."""
    (client or MlflowClient()).set_registered_model_alias(name, alias, str(version))


def drop_version_tag(client: MlflowClient, name: str, version: str, key: str) -> None:
    """Delete a tag of a version; empty it where MLflow's server lets this user change tags, and no more.

    To delete a tag takes MANAGE there, to set one EDIT. An empty tag means the same as none.
    """
    try:
        client.delete_model_version_tag(name, version, key)
    except NotAllowedError:
        client.set_model_version_tag(name, version, key, "")


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
        raise RegistryError(changed_sentence(name, expected, now, "Nothing was changed; compare again."))


def changed_sentence(name: str, expected: Aliases, now: Aliases, advice: str) -> str:
    """That aliases are not where they were expected."""
    return (
        f"Somebody else moved the aliases of {name!r} in the meantime: {shown_aliases(now)} now, "
        f"{shown_aliases(expected)} expected. {advice}"
    )


def shown_aliases(aliases: Aliases) -> str:
    """Where the three aliases are, in words."""
    return ", ".join(
        f"{alias} {'not set' if version is None else f'version {version}'}"
        for alias, version in asdict(aliases).items()
    )
