"""The variants side by side, best first: for a terminal, for MLflow's pages and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from proto_model.plotting import ACCENT, GRID, SECOND, dress, new_figure, shortened, within_one
from proto_model.table.cautions import Caution
from proto_model.training.evaluation import METRICS, markdown_table
from proto_model.training.evaluation.intervals import whiskers, with_interval

_SHOWN = tuple(metric for metric in METRICS if metric.on_board)
_COLUMNS = ("variant", "balanced accuracy (CV)", *(metric.on_board for metric in _SHOWN), "fit")


@dataclass(frozen=True)
class Standing:
    """Where one variant stands: cross-validation ranks it, the metrics on the test rows do not."""

    variant: str
    run_id: str
    cv_balanced_accuracy: float
    cv_std: float
    metrics: dict[str, float]
    fit_seconds: float
    cautions: tuple[Caution, ...] = ()


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Standings by cross-validated balanced accuracy, the best first; equal ones stay in the order given."""
    return sorted(standings, key=lambda standing: -standing.cv_balanced_accuracy)


def frame(standings: Sequence[Standing]) -> pd.DataFrame:
    """Table with one row per standing, for programs."""
    rows = []
    for rank, standing in enumerate(standings, start=1):
        row = {"rank": rank, **vars(standing)}
        metrics, fit_seconds, cautions = row.pop("metrics"), row.pop("fit_seconds"), row.pop("cautions")
        tests = {f"test_{name}": value for name, value in metrics.items() if "/" not in name}
        kinds = ",".join(dict.fromkeys(caution.kind for caution in cautions))
        rows.append(row | tests | {"fit_seconds": fit_seconds, "cautions": kinds})
    return pd.DataFrame(rows)


def figure(standings: Sequence[Standing]) -> Figure:
    """Balanced accuracy of every variant, in cross-validation and on the test rows, the best at the top."""
    cv_scores = [standing.cv_balanced_accuracy for standing in standings]
    cv_stds = [standing.cv_std for standing in standings]
    test_scores = [standing.metrics["balanced_accuracy"] for standing in standings]
    drawing = new_figure(7.4, 1.9 + 0.55 * len(standings))
    axes = drawing.subplots()
    rows = np.arange(len(standings))[::-1]
    axes.errorbar(
        cv_scores, rows + 0.12, xerr=cv_stds, fmt="o", color=ACCENT, markersize=7, capsize=3,
        label="cross-validation (ranks)",
    )  # fmt: skip
    axes.errorbar(
        test_scores, rows - 0.12, xerr=whiskers([s.metrics for s in standings], "balanced_accuracy"), fmt="D",
        color=SECOND, markersize=7, capsize=3, label="test rows (95 % interval)",
    )  # fmt: skip
    for scores, shift, text_shift, color in ((cv_scores, 0.12, 7, ACCENT), (test_scores, -0.12, -15, SECOND)):
        for row, score in zip(rows, scores, strict=True):
            axes.annotate(
                f"{score:.4f}", (score, row + shift), xytext=(0, text_shift), textcoords="offset points",
                ha="center", color=color, fontsize=9,
            )  # fmt: skip
    dress(axes, "Leader board", "balanced accuracy")
    axes.set_yticks(rows, shortened([standing.variant for standing in standings], 30))
    axes.set_ylim(-0.6, len(standings) - 0.4)
    axes.margins(x=0.08)
    within_one(axes.set_xlim, axes.get_xlim())
    axes.grid(False, axis="y")
    for row in rows[:-1]:
        axes.axhline(row - 0.5, color=GRID, linewidth=0.8)
    drawing.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return drawing


def rich_table(standings: Sequence[Standing], title: str) -> Table:
    """Table for a terminal, the best variant in bold."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "variant" else "right", no_wrap=name == "variant")
    for rank, standing in enumerate(standings):
        table.add_row(*_cells(standing), style="bold green" if rank == 0 else None)
    return table


def markdown(standings: Sequence[Standing]) -> str:
    """The same in Markdown, for a description in the MLflow UI."""
    return markdown_table(_COLUMNS, map(_cells, standings))


def _cells(standing: Standing) -> tuple[str, ...]:
    return (
        standing.variant,
        f"{standing.cv_balanced_accuracy:.4f} ± {standing.cv_std:.4f}",
        *(with_interval(standing.metrics, m.name) if m.name in standing.metrics else "-" for m in _SHOWN),
        f"{standing.fit_seconds:.1f} s",
    )
