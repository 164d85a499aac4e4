"""How a command names a model or one of its versions, and what there is of that name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from proto_model.errors import InputError, RegistryError, UnknownNameError
from proto_model.registry.catalog.tombstones import Tombstone, tombstones_of
from proto_model.registry.unknown import no_model, no_version
from proto_model.registry.versions import found, version_of_alias, versions_of

FORMS = "models:/name@alias, models:/name/7, name@alias or name/7"

_NAMED = re.compile(
    r"(?:models:/)?(?P<model>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>\d{1,9})|)", re.ASCII
)


@dataclass(frozen=True)
class Named:
    """A registered model, or one of its versions by alias or by number."""

    model: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def of(cls, text: str) -> Named:
        """What a text names; an InputError says which forms there are.

        Examples
        --------
        >>> Named.of("models:/churn@champion"), Named.of("churn/07").version
        (Named(model='churn', alias='champion', version=None), '7')
        >>> Named.of("churn").is_version
        False
        """
        parts = _NAMED.fullmatch(text.strip())
        if parts is None:
            raise InputError(f"{text!r} names no model. Give name, {FORMS}.")
        version = None if parts["version"] is None else str(int(parts["version"]))
        return cls(parts["model"], parts["alias"], version)

    @property
    def is_version(self) -> bool:
        """Whether it names a version, not the model as a whole."""
        return self.alias is not None or self.version is not None


def registered_model(client: MlflowClient, name: str) -> RegisteredModel:
    """A registered model; a RegistryError says that there is none."""
    model = found(client.get_registered_model, name)
    if model is None:
        raise no_model(client, name)
    return model


def aliases_of(model: RegisteredModel, version: ModelVersion) -> tuple[str, ...]:
    """Aliases of a version, from a to z."""
    own = (alias for alias, number in model.aliases.items() if str(number) == str(version.version))
    return tuple(sorted(own))


def named_version(client: MlflowClient, named: Named) -> ModelVersion | Tombstone:
    """The version that is named, the newest one if only its model is; its tombstone if it was deleted.

    A RegistryError says that there is none and never was.
    """
    model = registered_model(client, named.model)
    if named.alias is not None:
        version = version_of_alias(named.model, named.alias, client=client)
        if version is None:
            raise no_version(client, named.model, alias=named.alias)
        return version
    if named.version is not None:
        version = found(client.get_model_version, named.model, named.version)
        return _deleted(client, model, named.version) if version is None else version
    newest = next(versions_of(client, named.model, page_size=1), None)
    if newest is None:
        raise UnknownNameError(f"{named.model!r} has no version. Train one: python -m proto_model train")
    return found(client.get_model_version, named.model, str(newest.version)) or newest


def living_version(client: MlflowClient, text: str) -> ModelVersion:
    """The version that a text names by alias or number, to change it; an error says why there is none."""
    named = Named.of(text)
    if not named.is_version:
        raise InputError(f"{text!r} names no version. Give {FORMS}.")
    version = named_version(client, named)
    if isinstance(version, Tombstone):
        reason = f", because: {version.reason}" if version.reason else ""
        raise RegistryError(
            f"Version {version.version} of {named.model!r} was deleted by {version.by or 'somebody'} on "
            f"{version.day or 'an unknown day'}{reason}. A deleted version does not come back."
        )
    return version


def _deleted(client: MlflowClient, model: RegisteredModel, number: str) -> Tombstone:
    stone = tombstones_of(model.tags, ()).get(number)
    if stone is not None:
        return stone
    newest = next(versions_of(client, model.name, page_size=1), None)
    if newest is not None and 0 < int(number) < int(newest.version):
        raise RegistryError(
            f"Version {number} of {model.name!r} was deleted, not by this command: nothing is known of it."
        )
    raise no_version(client, model.name, number=number)
