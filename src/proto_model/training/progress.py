"""Progress of the searches: a bar per variant in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["SearchProgress", "search_progress"]

_LINES_PER_SEARCH = 4


class SearchProgress(Protocol):
    """What `search` calls after each fit."""

    def __call__(self, variant: str, n_done: int, n_total: int, best: float) -> None:
        """Take note that `n_done` of `n_total` fits are done, the best candidate scoring `best` (or NaN)."""


@contextmanager
def search_progress(console: Console | None = None) -> Iterator[SearchProgress]:
    """Callback that shows the progress of one search after another.

    Parameters
    ----------
    console : Console, optional
        Where to show it; standard error when not given.

    Yields
    ------
    SearchProgress
        For the `progress` of `search`.
    """
    out = console or Console(stderr=True)
    if not out.is_terminal:
        yield _lines(out)
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=out) as bars:
        yield _bars(bars)


def _bars(bars: Progress) -> SearchProgress:
    tasks: dict[str, TaskID] = {}

    def show(variant: str, n_done: int, n_total: int, best: float) -> None:
        if variant not in tasks:
            tasks[variant] = bars.add_task(variant, total=n_total, best="")
        bars.update(tasks[variant], completed=n_done, best=_shown(best))

    return show


def _lines(out: Console) -> SearchProgress:
    def show(variant: str, n_done: int, n_total: int, best: float) -> None:
        if n_done * _LINES_PER_SEARCH // n_total > (n_done - 1) * _LINES_PER_SEARCH // n_total:
            out.print(f"{variant}: {n_done}/{n_total} fits {_shown(best)}".rstrip(), highlight=False)

    return show


def _shown(best: float) -> str:
    return "" if math.isnan(best) else f"balanced accuracy {best:.4f}"
