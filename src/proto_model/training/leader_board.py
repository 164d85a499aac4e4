"""The variants side by side, the chosen one first: for a terminal, for MLflow's pages and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from proto_model.plotting import ACCENT, GRID, INK, MUTED, SECOND, dress, new_figure, shortened
from proto_model.table.caution import Caution
from proto_model.training.evaluation import markdown_table
from proto_model.training.evaluation.intervals import whiskers
from proto_model.training.evaluation.metric_texts import with_interval
from proto_model.training.metrics import METRICS
from proto_model.training.selection import choice, scoring
from proto_model.training.selection.result import FoldScores, Reference

_BALANCED = "balanced_accuracy"
_SHOWN = tuple(metric for metric in METRICS if metric.on_board)


@dataclass(frozen=True)
class Standing:
    """Where one variant stands: cross-validation ranks it, the metrics on the test rows do not."""

    variant: str
    run_id: str
    cv_balanced_accuracy: float
    cv_std: float
    metrics: dict[str, float]
    fit_seconds: float
    metric: str
    folds: FoldScores
    n_nodes: float
    references: tuple[Reference, ...] = ()  # the same for all
    cautions: tuple[Caution, ...] = ()
    decides: str = ""  # how, for a log, unless the most probable class is predicted


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Standings by the mean score over the folds, but the chosen one first; equal ones in the order given.

    Chosen is the smallest forest whose score is within one standard error of the best.
    """
    sizes = np.array([standing.n_nodes for standing in standings])
    losses = _losses_of_folds(standings, standings[0].metric)
    chosen = standings[choice.choose(losses, standings[0].folds.weights, sizes).index]
    by_score = sorted(standings, key=_mean_loss)
    return [chosen, *(standing for standing in by_score if standing is not chosen)]


def _losses_of_folds(standings: Sequence[Standing], metric: str) -> NDArray[np.float64]:
    """Loss of each standing (row) on each fold (column)."""
    return scoring.loss(metric, np.array([standing.folds.by_metric[metric] for standing in standings]))


def _mean_loss(standing: Standing) -> float:
    return float(scoring.loss(standing.metric, np.array(standing.folds.mean(standing.metric))))


@dataclass(frozen=True)
class OtherChoice:
    """What another metric would have chosen, and how it sees both."""

    title: str
    variant: str
    value: float
    value_of_chosen: float


def other_choices(standings: Sequence[Standing]) -> list[OtherChoice]:
    """Metrics by which another variant is better in cross-validation, by more than one standard error.

    A difference that four digits do not show is none.
    """
    weights = standings[0].folds.weights
    found: dict[tuple[str, float], OtherChoice] = {}
    for metric in METRICS:
        losses = _losses_of_folds(standings, metric.name)
        if not np.isfinite(losses).all(axis=0).any():
            continue
        choice_of_metric = choice.choose(losses, weights, np.zeros(len(standings)))
        if not choice_of_metric.ties[0]:
            other = standings[choice_of_metric.best]
            values = (standing.folds.mean(metric.name) for standing in (other, standings[0]))
            said = OtherChoice(metric.title, other.variant, *values)
            if round(said.value, 4) != round(said.value_of_chosen, 4):
                found.setdefault((said.variant, said.value), said)  # recall is balanced accuracy, too
    return list(found.values())


def reasons(standings: Sequence[Standing]) -> str:
    """Sentences on why the first variant was chosen, and what other metrics would have chosen."""
    best = standings[0]
    metric = scoring.BY_NAME[best.metric]
    tied = any(_mean_loss(best) > _mean_loss(other) for other in standings[1:])
    why = f"{best.variant} is chosen for its {metric.title} in cross-validation"
    why += ": within one standard error of the best, and smaller." if tied else "."
    if any(standing.decides for standing in standings):
        why += (
            " Balanced accuracy is that of decisions, which weigh what mistakes cost; floors and yardstick "
            "predict the most probable class."
        )
    others = other_choices(standings)
    if not others:
        return f"{why} The other metrics agree." if len(standings) > 1 else why
    by_variant: dict[str, list[str]] = {}
    for other in others:
        values = f"{other.value:.4f} against {other.value_of_chosen:.4f}"
        by_variant.setdefault(other.variant, []).append(f"{other.title} ({values})")
    said = (f"{variant} is better by {', '.join(titles)}." for variant, titles in by_variant.items())
    return " ".join((why, *said))


def frame(standings: Sequence[Standing]) -> pd.DataFrame:
    """Table with a row per standing, and then one per reference, which has no rank; for programs."""
    rows = []
    for rank, standing in enumerate(standings, start=1):
        row: dict[str, object] = {"rank": rank, "variant": standing.variant, "run_id": standing.run_id}
        row |= {"kind": "forest", "metric": standing.metric}
        row |= {"cv_balanced_accuracy": standing.cv_balanced_accuracy, "cv_std": standing.cv_std}
        kinds = ",".join(dict.fromkeys(caution.kind for caution in standing.cautions))
        ends = {"fit_seconds": standing.fit_seconds, "cautions": kinds}
        rows.append(row | _figures(standing.folds, standing.metrics) | ends)
    for reference in standings[0].references:
        row = {"rank": None, "variant": reference.name, "run_id": "", "kind": _kind(reference)}
        rows.append(
            row | _figures(reference.folds, reference.test_metrics) | {"fit_seconds": reference.fit_seconds}
        )
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def _figures(folds: FoldScores, metrics: Mapping[str, float]) -> dict[str, float]:
    """Means over the folds, and the figures of the test rows but those of single classes."""
    tests = {f"test_{name}": value for name, value in metrics.items() if "/" not in name}
    return {f"cv_{name}": value for name, value in folds.means.items()} | tests


def _kind(reference: Reference) -> str:
    return "yardstick" if reference.is_yardstick else "floor"


def figure(standings: Sequence[Standing]) -> Figure:
    """Metric that chose and balanced accuracy, over the folds and on the test rows, the chosen one on top."""
    metrics = list(dict.fromkeys((standings[0].metric, _BALANCED)))
    entries: list[tuple[FoldScores, dict[str, float], bool]] = [
        *((standing.folds, standing.metrics, True) for standing in standings),
        *((reference.folds, dict(reference.test_metrics), False) for reference in standings[0].references),
    ]
    drawing = new_figure(2.6 + 4.4 * len(metrics), 1.9 + 0.55 * len(entries))
    panels = drawing.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    names = shortened([standing.variant for standing in standings], 30)
    names += [f"{reference.name}\n({_kind(reference)})" for reference in standings[0].references]
    rows = np.arange(len(entries))[::-1]
    for metric, axes in zip(metrics, panels, strict=True):
        for row, (folds, tests, is_forest) in zip(rows, entries, strict=True):
            _draw(axes, float(row), (folds.by_metric[metric], folds.mean(metric)), (metric, tests), is_forest)
        described = scoring.BY_NAME[metric].described
        dress(axes, "Leader board" if axes is panels[0] else "", described)
        axes.margins(x=0.12)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, 0.0), high if scoring.BY_NAME[metric].lower_is_better else min(high, 1.005))
        axes.grid(False, axis="y")
        for row in rows[:-1]:
            axes.axhline(row - 0.5, color=GRID, linewidth=0.8)
    panels[0].set_yticks(rows, names)
    panels[0].set_ylim(-0.6, len(entries) - 0.4)
    axes = panels[0]
    axes.plot([], [], "o", color=ACCENT, label="cross-validation (ranks; ± standard deviation)")
    axes.plot([], [], "D", color=SECOND, label="test rows (95 % interval)")
    if standings[0].references:
        axes.plot([], [], "o", color=MUTED, fillstyle="none", label="for comparison only, not registered")
    drawing.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return drawing


def _draw(
    axes: Axes,
    row: float,
    scores: tuple[NDArray[np.float64], float],
    tests: tuple[str, dict[str, float]],
    is_forest: bool,
) -> None:
    """One entry: the mean over the folds with its spread, and what the test rows say."""
    values, mean = scores
    color, fill = (ACCENT, "full") if is_forest else (MUTED, "none")
    axes.errorbar(
        mean, row + 0.12, xerr=np.nanstd(values), fmt="o", color=color, markersize=7, capsize=3,
        fillstyle=fill,
    )  # fmt: skip
    _label(axes, mean, row + 0.12, 7, color if is_forest else INK)
    metric, known = tests
    if metric in known:
        test, ink = known[metric], SECOND if is_forest else MUTED
        axes.errorbar(
            test, row - 0.12, xerr=whiskers([known], metric), fmt="D", color=ink, markersize=7, capsize=3,
            fillstyle=fill,
        )  # fmt: skip
        _label(axes, test, row - 0.12, -15, SECOND if is_forest else INK)


def _label(axes: Axes, value: float, row: float, shift: int, color: str) -> None:
    axes.annotate(
        f"{value:.4f}", (value, row), xytext=(0, shift), textcoords="offset points", ha="center",
        color=color, fontsize=9,
    )  # fmt: skip


def rich_table(standings: Sequence[Standing], title: str, width: int = 120) -> Table:
    """Table for a terminal, the chosen variant in bold; columns that do not fit are left out."""
    references = standings[0].references
    names = _columns(standings)
    rows = [_cells(standing) for standing in standings]
    rows += [_reference_cells(reference, standings[0].metric) for reference in references]
    rows = [(row[0], *map(_stacked, row[1:-1]), row[-1]) for row in rows]
    widths = _widths(names, rows, width)
    n_shown = len(widths)
    caption = reasons(standings)
    if n_shown < len(names):
        caption += f" A wider terminal also shows {', '.join(names[n_shown:])}."
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold",
        caption=caption, caption_justify="left",
    )  # fmt: skip
    for name, of_column in zip(names, widths, strict=False):
        table.add_column(name, justify="right" if table.columns else "left", width=of_column)
    for rank, row in enumerate(rows):
        is_forest = rank < len(standings)
        style = "bold green" if rank == 0 else None if is_forest else "dim"
        table.add_row(*row[:n_shown], style=style, end_section=rank == len(standings) - 1)
    return table


def _stacked(cell: str) -> str:
    """A figure above its interval or spread, which keeps a column narrow."""
    value, _, beside = cell.partition(" ")
    return f"{value}\n{beside.strip('()').replace(' to ', '-')}" if beside else value


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths of the columns that fit, from the left; at least three. A heading may wrap between words."""
    widths: list[int] = []
    for place, name in enumerate(names):
        parts = [*name.split(), *(part for row in rows for part in row[place].split("\n"))]
        widths.append(max(map(len, parts)))
        if place >= 3 and sum(widths) + 3 * len(widths) + 1 > width:
            return widths[:-1]
    return widths


def markdown(standings: Sequence[Standing]) -> str:
    """The same in Markdown, for a description in the MLflow UI."""
    cells = [
        *map(_cells, standings),
        *(_reference_cells(reference, standings[0].metric) for reference in standings[0].references),
    ]
    return f"{markdown_table(_columns(standings), cells)}\n\n{reasons(standings)}"


def _columns(standings: Sequence[Standing]) -> tuple[str, ...]:
    metrics = dict.fromkeys((standings[0].metric, _BALANCED))
    validated = (f"{scoring.BY_NAME[name].title} (CV)" for name in metrics)
    return ("variant", *validated, *_test_columns(standings[0].metric), "fit")


def _test_columns(metric: str) -> tuple[str, ...]:
    """Headings of the test rows' metrics: the one that chose, if it is not among those always shown."""
    chosen = () if scoring.BY_NAME[metric].on_board else (f"{scoring.BY_NAME[metric].title} (test)",)
    return (*chosen, *(shown.on_board for shown in _SHOWN))


def _cells(standing: Standing) -> tuple[str, ...]:
    return (
        standing.variant,
        *_values(standing.folds, standing.metrics, standing.metric, standing.fit_seconds),
    )


def _reference_cells(reference: Reference, metric: str) -> tuple[str, ...]:
    name = f"{reference.name}\n({_kind(reference)})"
    tests = dict(reference.test_metrics)
    return (name, *_values(reference.folds, tests, metric, reference.fit_seconds))


def _values(folds: FoldScores, tests: dict[str, float], metric: str, seconds: float) -> tuple[str, ...]:
    validated = [f"{folds.mean(name):.4f}" for name in dict.fromkeys((metric, _BALANCED))]
    validated[0] += f" ± {np.nanstd(folds.by_metric[metric]):.4f}"
    shown = [shown.name for shown in _SHOWN]
    names = shown if metric in shown else [metric, *shown]
    return (
        *validated,
        *(with_interval(tests, name) if name in tests else "-" for name in names),
        f"{seconds:.1f} s",
    )
