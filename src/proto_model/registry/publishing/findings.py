"""What keeps a version from being trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from proto_model.errors import ArtifactError

MAX_SHOWN = 5

Problem = Literal[
    "unpublished", "manifest", "signature", "changed", "added", "removed", "unsafe", "registry", "reproduced"
]
"""The version is not published; its manifest or its signature does not hold; a file was changed, added or
removed, or is none that may be in a version; MLflow says other things of the version than its manifest; or
the same training gives another file.
"""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the file or the field that it is about."""

    problem: Problem
    name: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)


class PublicationError(ArtifactError):
    """A version is not published, or is not what was published."""


def check(what: str, findings: Sequence[Finding]) -> None:
    """Raise PublicationError, with the first findings, if there are any."""
    if findings:
        rest = len(findings) - MAX_SHOWN
        texts = [finding.detail for finding in findings[:MAX_SHOWN]]
        more = f" And {rest} more." if rest > 0 else ""
        raise PublicationError(f"{what} cannot be trusted: {' '.join(texts)}{more}")
