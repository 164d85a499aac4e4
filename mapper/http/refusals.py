"""What keeps refusals cheap: their pace, and one line of the log for many.

`refusals.py` is the same file in `mapper/http/` and in `proto_model/serving/http/`, as are those that
`connection.py` names.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque

from .entrance import BURST, LEAST_PER_S, MAX_WAIT_S, PER_ANSWER

__all__ = ["Pace", "Tally"]

logger = logging.getLogger(__name__)

EVERY_S = 10.0


class Pace:
    """Has refusals wait for their turn: a few for each answer, whatever the machine manages of these.

    A client that asks again as soon as it is refused costs more than one that is answered. It gets its answer
    late, and asks so much less.
    """

    def __init__(self) -> None:
        self._credit = BURST
        self._waiting: deque[tuple[asyncio.Future[None], float]] = deque()  # and since when
        self._timer: asyncio.TimerHandle | None = None

    def answered(self) -> None:
        """Say that a request was answered."""
        self._credit = min(BURST, self._credit + PER_ANSWER)
        if self._waiting:
            self._let_go()

    async def turn(self) -> None:
        """Wait for the turn of one refusal."""
        if self._credit >= 1 and not self._waiting:
            self._credit -= 1
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append((turn, loop.time()))
        if self._timer is None:
            self._timer = loop.call_later(1 / LEAST_PER_S, self._tick)
        await turn

    def _let_go(self, late: float = 0.0) -> None:
        """As many as there is credit for, and those that wait since before a time."""
        while self._waiting and (self._credit >= 1 or self._waiting[0][1] < late):
            turn, _ = self._waiting.popleft()
            if not turn.done():  # its client may have gone, or the server be stopping
                self._credit = max(0.0, self._credit - 1)
                turn.set_result(None)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._credit += 1
        self._let_go(loop.time() - MAX_WAIT_S)
        self._timer = None
        if self._waiting:
            self._timer = loop.call_later(1 / LEAST_PER_S, self._tick)


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
