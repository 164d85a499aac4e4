"""A time limit for bodies: one timer for all of them, because one each takes a tenth of a small request."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from proto_model.serving.http.errors import SlowBodyError

__all__ = ["Arrivals"]


class Arrivals:
    """Context in which a task waits for its body; many tasks of one event loop may be in it, each once.

    Parameters
    ----------
    timeout_s : float
        Longest time for a body to arrive; a task that waits longer leaves with a SlowBodyError.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends: dict[asyncio.Task[Any], float] = {}  # in the order in which they come
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        """Let time run for the current task."""
        loop = asyncio.get_running_loop()
        self._ends[_this()] = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._sweep)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it stand still."""
        task = _this()
        del self._ends[task]
        if task in self._late:
            self._late.remove(task)
            if kind is asyncio.CancelledError and task.uncancel() == 0:
                raise SlowBodyError(
                    f"The body did not arrive within {self._timeout_s:g} s. Send it again."
                ) from error

    def _sweep(self) -> None:
        """End the waiting of those whose time is over, and come back for the next one."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for task, end in self._ends.items():
            if end > loop.time():
                self._timer = loop.call_at(end, self._sweep)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()


def _this() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
