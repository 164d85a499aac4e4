"""Whether a version is published, which its tag `published_at` says: then nothing of it may change."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion

from proto_model.errors import RegistryError

PUBLISHED_AT, PUBLISHED_BY = "published_at", "published_by"


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
