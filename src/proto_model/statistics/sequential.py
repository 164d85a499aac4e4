"""How a challenger a night keeps its error: what part of it each comparison may use.

Comparisons with one champion share their test rows, so their errors add up. Each attempt since the last
promotion gets a smaller part of the allowed error; all parts together are at most the whole, whatever the
rows have in common. So the chance that an equal model ever takes over from a champion stays below the rule's
level, however many nights it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import zeta

_FALL = 1.5
_DIGEST = 8
_MAX_KNOWN = 300
_MAX_FORGOTTEN = 2**53  # what lies beyond is damage


@dataclass(frozen=True)
class Attempts:
    """Attempts to replace one champion, oldest first: an identity of each, such as version and rows' digest.

    Comparing the same challenger on the same rows again is no new attempt. The identities in `known` are
    digests; of those before the last 300 only the number is kept, in `forgotten`.

    Examples
    --------
    >>> attempts = Attempts("3").record("version 4 on rows a1")
    >>> round(attempts.share_of("version 4 on rows a1"), 3), round(attempts.share_of("5 on a1"), 3)
    (0.383, 0.135)
    """

    champion: str
    known: tuple[str, ...] = ()
    forgotten: int = 0

    def number_of(self, attempt: str) -> int:
        """Number of this attempt, 1 for the first; the one that it has if it is known."""
        digest = _digest(attempt)
        position = self.known.index(digest) if digest in self.known else len(self.known)
        return self.forgotten + position + 1

    def share_of(self, attempt: str) -> float:
        """Part of the error that this attempt may use: its number decides, and it keeps it."""
        return share_of_attempt(self.number_of(attempt))

    def record(self, attempt: str) -> Attempts:
        """State after an attempt that did not promote; after a promotion, start anew with `Attempts(new)`."""
        digest = _digest(attempt)
        if digest in self.known:
            return self
        dropped = max(0, len(self.known) + 1 - _MAX_KNOWN)
        return replace(self, known=(*self.known, digest)[dropped:], forgotten=self.forgotten + dropped)

    def to_dict(self) -> dict[str, Any]:
        """JSON object; at most 300 digests of a dozen bytes, which fit a tag of MLflow (5000)."""
        return {"champion": self.champion, "known": list(self.known), "forgotten": self.forgotten}

    @classmethod
    def of(cls, champion: str, stored: object) -> Attempts:
        """State that `to_dict` gave, if it is of this champion; else a new one."""
        if not isinstance(stored, Mapping) or stored.get("champion") != champion:
            return cls(champion)
        known, forgotten = stored.get("known"), stored.get("forgotten")
        if not isinstance(known, list) or not all(isinstance(digest, str) for digest in known):
            return cls(champion)
        if not isinstance(forgotten, int) or not 0 < forgotten <= _MAX_FORGOTTEN:
            forgotten = 0
        return cls(champion, tuple(known), forgotten)


def share_of_attempt(number: int) -> float:
    """Part of the error for the attempt with this number (1 is the first); the parts sum up to at most 1.

    They fall with the power 1.5 of the number: with 2, the hundredth attempt would get a sixth of this.

    Examples
    --------
    >>> round(sum(share_of_attempt(number) for number in range(1, 366)), 2)
    0.96
    """
    if number < 1:
        raise ValueError(f"Attempt number {number} given, 1 or more expected.")
    return float(number**-_FALL / zeta(_FALL))


def _digest(attempt: str) -> str:
    return hashlib.sha256(attempt.encode()).hexdigest()[:_DIGEST]
