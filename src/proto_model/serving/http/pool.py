"""What takes long, with a bounded queue and a time limit: by threads, or by whoever is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from proto_model.serving.http.errors import EndingError, OverloadError, SlowAnswerError

# Jobs that are told to end get so long to say so themselves.
GRACE_S = 1.0

T = TypeVar("T")


class Pool:
    """Threads that work off the event loop; `timeout_s` includes the time that a job waits.

    `changed` is told how many jobs there are, whenever that changes; `advice` is for jobs that take too long.
    Besides the jobs that wait, `at_once` are taken.
    """

    def __init__(
        self,
        threads: int,
        max_waiting: int,
        timeout_s: float,
        changed: Callable[[int], None],
        advice: str = "Send fewer rows at a time, or ask for less effort.",
    ) -> None:
        self._executor = ThreadPoolExecutor(threads)
        self.at_once = threads
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._changed = changed
        self._advice = advice
        self._n_jobs = 0
        self._closed = False
        self._timeouts: set[asyncio.Timeout] = set()

    async def run(self, job: Callable[[Callable[[], None]], T]) -> T:
        """Result of a job, which is given a function to call now and then: it raises when time is over.

        Raises OverloadError if too many jobs are waiting, EndingError if the pool is closed, and
        SlowAnswerError if time is over. A job that has begun holds its thread until it ends.
        """
        self.check_place()
        end = time.monotonic() + self._timeout_s

        def go_on() -> None:
            if self._closed:
                raise _ending()
            if time.monotonic() > end:
                raise self._too_slow()

        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._count, -1)

        self._count(1)
        future = self._executor.submit(job, go_on)
        future.add_done_callback(done)
        try:
            return await self._in_time(asyncio.wrap_future(future))
        except asyncio.CancelledError as error:
            if self._closed and future.cancelled():  # it was still waiting
                raise _ending() from error
            raise

    async def attend(self, job: Callable[[float], Awaitable[T]]) -> T:
        """Result of a job that is done elsewhere, and is cancelled when time is over; raises as `run` does.

        The job is told how many seconds it has.
        """
        self.check_place()
        self._count(1)
        try:
            return await self._in_time(job(self._timeout_s))
        finally:
            self._count(-1)

    async def _in_time(self, result: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s) as timeout:
                self._timeouts.add(timeout)
                return await result
        except TimeoutError as error:
            raise _ending() if self._closed else self._too_slow() from error
        finally:
            self._timeouts.discard(timeout)

    def check_place(self) -> None:
        """Nothing, when a job would be taken; raises what `run` does otherwise."""
        if self._closed:
            raise _ending()
        if self._n_jobs >= self.at_once + self._max_waiting:
            raise OverloadError("Too many large requests at once. Send it again a little later.")

    def close(self) -> None:
        """Have the jobs end at their next call, and the threads with them; nobody waits much longer."""
        self._closed = True
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time() + GRACE_S)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _count(self, more: int) -> None:
        self._n_jobs += more
        self._changed(self._n_jobs)

    def _too_slow(self) -> SlowAnswerError:
        return SlowAnswerError(f"No answer within {self._timeout_s:g} s. {self._advice}")


def _ending() -> EndingError:
    return EndingError("The server is ending. Send the request again.")
