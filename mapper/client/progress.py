"""The steps of a file's round trip, shown to whoever waits for it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Advance = Callable[[int], None]
"""Told how many further bytes are done; from any thread."""

REFRESH_S = 0.2
LINE_CHARACTERS = 60


class Progress:
    """Writes a line per finished step to `out`, if there is one; on a terminal, the current step as well."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._live = out is not None and out.isatty()
        self._lock = threading.Lock()  # boto3 moves parts in several threads

    @contextmanager
    def step(self, name: str, n_bytes: int | None = None) -> Iterator[Advance]:
        """A step, as long as the block lasts; `n_bytes` is how many bytes there are to move."""
        started = time.monotonic()
        done, shown_at = 0, 0.0

        def advance(n: int) -> None:
            nonlocal done, shown_at
            with self._lock:
                done += n
                now = time.monotonic()
                if self._live and now - shown_at >= REFRESH_S:
                    shown_at = now
                    state = f"{done / n_bytes:4.0%} of {shown_bytes(n_bytes)}" if n_bytes else "..."
                    self._write(f"\r{name:<8}  {state}".ljust(LINE_CHARACTERS))

        advance(0)
        last = ""
        try:
            yield advance
            size = "" if n_bytes is None else f"{shown_bytes(n_bytes)} in "
            last = f"{name:<8}  {size}{time.monotonic() - started:.1f} s\n"
        finally:
            self._write(("\r".ljust(LINE_CHARACTERS) + "\r" if self._live else "") + last)

    def _write(self, text: str) -> None:
        if self._out is not None:
            self._out.write(text)
            self._out.flush()


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
