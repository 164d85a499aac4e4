"""Tags of published versions, and those that go on changing."""

from __future__ import annotations

AT, BY, DIGEST, PLACE = "published_at", "published_by", "manifest_sha256", "publication_run_id"
TAGS = (AT, BY, DIGEST, PLACE)
"""When and by whom a version was published, the SHA-256 of its manifest, and the run that keeps it."""

_OPEN = ("comparison_", "deployed_", "event.")
_OPEN_NAMES = ("promotion_run_id",)


def is_open(key: str) -> bool:
    """Whether a tag may change after publication: what comparisons, deployments and other events note.

    Examples
    --------
    >>> is_open("deployed_staging"), is_open("variant")
    (True, False)
    """
    return key.startswith(_OPEN) or key in _OPEN_NAMES
