"""One look for all figures, without pyplot: no global state, nothing to close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
ACCENT = "#2563a8"
SECOND = "#d9622b"

_CLASS_COLORS = (
    ACCENT, SECOND, "#2f9e6e", "#8e4fb3", "#c9a227", "#35a7c4", "#b83a5b", "#6b7f1e", "#5c6773", "#e08fb5",
)  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """Empty figure of a size in inches, drawn by Agg whatever backend the process uses."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Give axes their title and names, light grid lines and no box."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def class_colors(n_classes: int) -> list[str]:
    """Color of each class, for at most ten of them; all the same muted one when there are more."""
    return list(_CLASS_COLORS[:n_classes]) if n_classes <= len(_CLASS_COLORS) else [MUTED] * n_classes


def shortened(texts: Sequence[object], length: int = 22) -> list[str]:
    """Texts that fit beside an axis: on one line, long ones without their middle, `$` taken literally.

    Examples
    --------
    >>> shortened(["short", "a label that does not come to an end"], length=15)
    ['short', 'a label… an end']
    """
    half = length // 2
    lines = [" ".join(str(text).split()) for text in texts]
    cut = [text if len(text) <= length else f"{text[:half]}…{text[half - length + 1 :]}" for text in lines]
    return [text.replace("$", r"\$") for text in cut]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; `savefig` would draw it twice to the same end."""
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call]  # of matplotlib
