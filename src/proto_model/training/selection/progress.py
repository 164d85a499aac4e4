"""How a search tells a terminal, or a log, how far it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from proto_model.training.selection.choice import DEFAULT_METRIC
from proto_model.training.selection.cross_validation import SearchProgress
from proto_model.training.selection.scoring import BY_NAME

_LINES_PER_SEARCH = 4


@contextmanager
def search_progress(console: Console | None = None, metric: str = DEFAULT_METRIC) -> Iterator[SearchProgress]:
    """Callback for `searches`: a bar per variant in a terminal, a line now and then elsewhere."""
    title = BY_NAME[metric].title

    def shown(best: float) -> str:
        return "" if math.isnan(best) else f"{title} {best:.4f}"

    out = console or Console(stderr=True, emoji=False)

    def show_line(variant: str, n_done: int, n_total: int, best: float) -> None:
        if n_done * _LINES_PER_SEARCH // n_total > (n_done - 1) * _LINES_PER_SEARCH // n_total:
            out.print(f"{variant}: {n_done}/{n_total} fits {shown(best)}".rstrip(), highlight=False)

    if not out.is_terminal:
        yield show_line
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=out) as bars:

        def show_bar(variant: str, n_done: int, n_total: int, best: float) -> None:
            if variant not in tasks:
                tasks[variant] = bars.add_task(variant, total=n_total, best="")
            bars.update(tasks[variant], completed=n_done, best=shown(best))

        yield show_bar
