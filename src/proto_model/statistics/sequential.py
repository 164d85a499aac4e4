"""How a challenger a night keeps its error: what part of it each comparison may use.

Comparisons with one champion share their test rows, so their errors add up. Each attempt since the last
promotion gets a smaller part of the allowed error; all parts together are at most the whole, whatever the
rows have in common. So the chance that an equal model ever takes over from a champion stays below the rule's
level, however many nights it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attempts:
    """Attempts to replace one champion, oldest first: an identity of each, such as version and rows' digest.

    Comparing the same challenger on the same rows again is no new attempt.
    """

    champion: str
    known: tuple[str, ...] = ()

    def share_of(self, attempt: str) -> float:
        """Part of the error that this attempt may use: its number decides, and it keeps it."""
        raise NotImplementedError

    def record(self, attempt: str) -> Attempts:
        """State after an attempt that did not promote; after a promotion, start anew with `Attempts(new)`."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """JSON object, small enough for a tag: identities are kept as short digests."""
        raise NotImplementedError

    @classmethod
    def of(cls, champion: str, stored: object) -> Attempts:
        """State that `to_dict` gave; a new one if it is of another champion or not readable."""
        raise NotImplementedError


def share_of_attempt(number: int) -> float:
    """Part of the error for the attempt with this number (1 is the first); the parts sum up to at most 1."""
    raise NotImplementedError
