"""What keeps refusals cheap: their pace, and one line of the log for many.

`refusals.py` is the same file in `mapper/http/` and in `proto_model/serving/http/`, as are those that
`connection.py` names.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from .entrance import REFUSALS_PER_S

__all__ = ["Pace", "Tally"]

logger = logging.getLogger(__name__)

BURST = 50  # refusals that are sent at once
EVERY_S = 10.0


class Pace:
    """Has refusals wait for each other: so many go out a second, in their order.

    A client that asks again as soon as it is refused costs more than one that is answered. It gets its answer
    late, and asks so much less.
    """

    def __init__(self, per_s: int = REFUSALS_PER_S) -> None:
        self._gap_s = 1 / per_s
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the turn of one refusal."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - BURST * self._gap_s) + self._gap_s
        if self._next > now:
            await asyncio.sleep(self._next - now)


class Tally:
    """Counts what would fill the log, and writes it down once in a while, beginning with the first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, what: str) -> None:
        """Count something, in words that hold nothing of a request; to be called in the event loop."""
        if self._timer is None:
            logger.warning("%s. More of that are summed up every %g s.", what, EVERY_S)
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write)
        else:
            self._counts[what] += 1

    def _write(self) -> None:
        self._timer = None
        if self._counts:
            listed = ", ".join(f"{what}: {n}" for what, n in self._counts.most_common())
            logger.warning("in the last %g s also: %s", EVERY_S, listed)
            self._counts.clear()
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write)
