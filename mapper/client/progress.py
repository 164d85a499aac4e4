"""The steps of a file's round trip, shown to whoever waits for it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Advance", "Progress", "shown_bytes"]

Advance = Callable[[int], None]
"""Told how many further bytes are done; from any thread."""

REFRESH_S = 0.2
LINE_CHARACTERS = 60


class Progress:
    """Writes a line per finished step to `out`, if there is one; on a terminal, the current step as well."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    @contextmanager
    def step(self, name: str, n_bytes: int | None = None) -> Iterator[Advance]:
        """A step, as long as the block lasts; `n_bytes` is how many bytes there are to move."""
        step = _Step(name, n_bytes)
        if self._out is None:
            yield step.advance
            return
        ended = threading.Event()
        painter = threading.Thread(target=_paint, args=(self._out, step, ended), daemon=True)
        last = ""
        if self._out.isatty():
            painter.start()
        try:
            yield step.advance
            last = step.result() + "\n"
        finally:
            ended.set()
            if painter.ident is not None:
                painter.join()
                last = "\r".ljust(LINE_CHARACTERS) + "\r" + last
            self._out.write(last)
            self._out.flush()


def _paint(out: TextIO, step: _Step, ended: threading.Event) -> None:
    while not ended.wait(REFRESH_S):
        out.write("\r" + step.state().ljust(LINE_CHARACTERS))
        out.flush()


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
