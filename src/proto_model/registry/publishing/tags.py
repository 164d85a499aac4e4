"""Tags of published versions, and those that go on changing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proto_model.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PUBLISHED_AT, PUBLISHED_BY = "published_at", "published_by"
MANIFEST_SHA256, PUBLICATION_RUN = "manifest_sha256", "publication_run_id"
TAGS = (PUBLISHED_AT, PUBLISHED_BY, MANIFEST_SHA256, PUBLICATION_RUN)
"""When and by whom a version was published, the SHA-256 of its manifest, and the run that keeps it."""

_OPEN = ("comparison_", "deployed_", "event.")
_OPEN_NAMES = ("promotion_run_id",)


def is_published(version: ModelVersion) -> bool:
    """Whether a version, as MLflow's client gives it, is published."""
    return PUBLISHED_AT in version.tags


def check_not_published(version: ModelVersion) -> None:
    """Raise RegistryError if a version is published: nothing may change it any more."""
    if is_published(version):
        by = version.tags.get(PUBLISHED_BY)
        raise RegistryError(
            f"Version {version.version} of {version.name!r} was published at {version.tags[PUBLISHED_AT]}"
            f"{f' by {by}' if by else ''} and cannot be changed. Make a new version."
        )


def is_open(key: str) -> bool:
    """Whether a tag may change after publication: what comparisons, deployments and other events note.

    Examples
    --------
    >>> is_open("deployed_staging"), is_open("variant")
    (True, False)
    """
    return key.startswith(_OPEN) or key in _OPEN_NAMES
