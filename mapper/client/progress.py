"""The steps of a file's round, shown to whoever waits for it: bytes that move, seconds of work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

__all__ = ["Advance", "NoProgress", "Progress", "TextProgress", "shown_bytes"]

Advance = Callable[[int], None]
"""Told how many further bytes are done; from any thread."""

REFRESH_S = 0.2
LINE_CHARACTERS = 60


class Progress(Protocol):
    """Is told what is going on."""

    def step(self, name: str, n_bytes: int | None = None) -> AbstractContextManager[Advance]:
        """A step, as long as the block lasts; `n_bytes` is how many there are to move."""


class NoProgress:
    """Says nothing."""

    @contextmanager
    def step(self, name: str, n_bytes: int | None = None) -> Iterator[Advance]:
        """Do nothing."""
        yield lambda n: None


class TextProgress:
    """A line per step that is done; on a terminal, the step at work as well.

    Parameters
    ----------
    out : file
        Where to write.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()

    @contextmanager
    def step(self, name: str, n_bytes: int | None = None) -> Iterator[Advance]:
        """Show a step; its last line stays when it was successful."""
        step = _Step(name, n_bytes)
        ended = threading.Event()
        painter = threading.Thread(target=self._paint, args=(step, ended), daemon=True)
        if self._live:
            painter.start()
        try:
            yield step.advance
        except BaseException:
            last = ""
            raise
        else:
            last = step.result() + "\n"
        finally:
            ended.set()
            if self._live:
                painter.join()
                self._out.write("\r".ljust(LINE_CHARACTERS) + "\r")
            self._out.write(last)
            self._out.flush()

    def _paint(self, step: _Step, ended: threading.Event) -> None:
        while not ended.wait(REFRESH_S):
            self._out.write("\r" + step.state().ljust(LINE_CHARACTERS))
            self._out.flush()


class _Step:
    """Counts the bytes and seconds of a step."""

    def __init__(self, name: str, n_bytes: int | None) -> None:
        self._name, self._n_bytes = name, n_bytes
        self._done = 0
        self._lock = threading.Lock()  # boto3 moves parts in several threads
        self._started = time.monotonic()

    def advance(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes

    def state(self) -> str:
        seconds = time.monotonic() - self._started
        if self._n_bytes is None:
            return f"{self._name:<8}  {seconds:.0f} s"
        share = self._done / self._n_bytes if self._n_bytes else 1.0
        speed = f"{shown_bytes(self._done / seconds)}/s" if seconds > 0 else ""
        return f"{self._name:<8}  {share:4.0%} of {shown_bytes(self._n_bytes)}, {speed}"

    def result(self) -> str:
        size = "" if self._n_bytes is None else f"{shown_bytes(self._n_bytes)} in "
        return f"{self._name:<8}  {size}{time.monotonic() - self._started:.1f} s"


def shown_bytes(n_bytes: float) -> str:
    """A number of bytes as people read it.

    Examples
    --------
    >>> shown_bytes(999), shown_bytes(4_530), shown_bytes(1.5e9)
    ('999 B', '4.5 kB', '1.5 GB')
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B"
    power = min(int(math.log10(n_bytes)) // 3, 4)
    return f"{n_bytes / 1000**power:.1f} {' kMGT'[power]}B"
