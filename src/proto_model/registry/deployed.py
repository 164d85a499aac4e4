"""Which version of a registered model runs where: the tag `deployed_<environment>` of a version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlflow import MlflowClient

from proto_model.errors import UnknownNameError
from proto_model.registry.events import write_event
from proto_model.registry.patience import patient
from proto_model.registry.unknown import no_version
from proto_model.registry.versions import drop_version_tag, found, version_of_alias, versions_of

TAG = "deployed_"
_URI = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Chosen:
    """A version of a registered model, by number: an alias may move on in the meantime."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """URI of this version and no other."""
        return f"models:/{self.name}/{self.version}"


def resolved(model_uri: str, *, client: MlflowClient | None = None) -> Chosen:
    """The version that `models:/name@alias` or `models:/name/3` names now; RegistryError if there is none."""
    parts = _URI.fullmatch(model_uri)
    if parts is None:
        raise UnknownNameError(
            f"{model_uri} names no registered version. Give one such as models:/proto_model@champion or "
            "models:/proto_model/3."
        )
    client = client or MlflowClient()
    if parts["alias"]:
        version = version_of_alias(parts["name"], parts["alias"], client=client)
    else:
        version = found(client.get_model_version, parts["name"], parts["version"])
    if version is None:
        raise no_version(client, parts["name"], alias=parts["alias"], number=parts["version"])
    return Chosen(parts["name"], str(version.version))


def record_deployed(
    chosen: Chosen, environment: str, image: str, *, client: MlflowClient | None = None
) -> list[str]:
    """Note at a version that its image runs in an environment, and no longer at the others.

    Returns the versions that ran there before.
    """
    client = patient(client or MlflowClient())
    tag = f"{TAG}{environment}"
    client.set_model_version_tag(chosen.name, chosen.version, tag, image)
    before = [
        str(one.version)
        for one in versions_of(client, chosen.name)
        if one.tags.get(tag) and str(one.version) != chosen.version
    ]
    for version in before:
        drop_version_tag(client, chosen.name, version, tag)
    write_event(client, chosen.name, chosen.version, "deployed", f"to {environment}: {image}")
    return before
