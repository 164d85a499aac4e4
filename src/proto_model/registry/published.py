"""Whether a version is published, which its tag `published_at` says: then nothing of it may change."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from proto_model.errors import RegistryError

PUBLISHED_AT, PUBLISHED_BY = "published_at", "published_by"

_PUBLISHING = "proto_model.registry.publishing"


def is_published(version: ModelVersion) -> bool:
    """Whether a version, as MLflow's client gives it, is published."""
    return PUBLISHED_AT in version.tags


def check_not_published(version: ModelVersion) -> None:
    """Raise RegistryError if a version is published: nothing may change it any more."""
    if is_published(version):
        by = f" by {version.tags[PUBLISHED_BY]}" if version.tags.get(PUBLISHED_BY) else ""
        raise RegistryError(
            f"Version {version.version} of {version.name!r} was published at {version.tags[PUBLISHED_AT]}"
            f"{by} and cannot be changed. Make a new version."
        )


def publish_version(client: MlflowClient, version: ModelVersion, key: Path | None = None) -> None:
    """Publish a version, signed with a key if there is one; a RegistryError says that it is published."""
    check_not_published(version)
    if importlib.util.find_spec(_PUBLISHING) is None:
        raise RegistryError("This release of the package cannot publish versions.")
    publishing = importlib.import_module(_PUBLISHING)
    publishing.publish(f"models:/{version.name}/{version.version}", key=key, client=client)
