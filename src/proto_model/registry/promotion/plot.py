"""The comparison at a glance: bootstrapped differences, and the recall of each class by both versions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from proto_model.registry.promotion.comparison import Comparison
from proto_model.registry.promotion.statistics import PairedCounts
from proto_model.schema import Label
from proto_model.training.evaluation.style import ACCENT, INK, MUTED, SECOND, dress, new_figure, shortened

__all__ = ["comparison_figure"]

_MAX_CLASSES = 20
_N_BARS = 41


def comparison_figure(
    classes: Sequence[Label], counts: PairedCounts, comparison: Comparison | None
) -> Figure:
    """Figure with the differences, when there is a comparison, and the recall of each class.

    Parameters
    ----------
    classes : sequence
        Class labels, in the order of `counts`.
    counts : PairedCounts
        "First" is the champion, "second" the challenger.
    comparison : Comparison or None
        None when the challenger stands alone.

    Returns
    -------
    Figure
        Of many classes, those on which the two versions differ most.
    """
    n_shown = min(len(classes), _MAX_CLASSES)
    height = max(4.2, 1.6 + 0.36 * n_shown)
    if comparison is None:
        figure = new_figure(7, height)
        _draw_recalls(figure.subplots(), classes, counts, with_champion=False)
    else:
        figure = new_figure(12, height)
        left, right = figure.subplots(1, 2)
        _draw_differences(left, comparison)
        _draw_recalls(right, classes, counts, with_champion=True)
    return figure


def _draw_differences(axes: Axes, comparison: Comparison) -> None:
    differences = comparison.differences
    low, high = comparison.interval
    left, right = _limits(differences, low, high)
    axes.hist(differences, bins=np.linspace(left, right, _N_BARS + 1).tolist(), color=ACCENT, alpha=0.35)
    axes.axvspan(
        low, high, color=ACCENT, alpha=0.12, lw=0, label=f"{100 * comparison.confidence:g} % interval"
    )
    axes.axvline(comparison.difference, color=ACCENT, lw=2.2, label="observed")
    axes.axvline(0, color=INK, lw=1.2, ls="--", label="zero")
    dress(
        axes,
        "Difference",
        "balanced accuracy, challenger minus champion: "
        f"{comparison.difference:+.4f} ({low:+.4f} to {high:+.4f})",
        f"of {comparison.n_resamples:,} resamples",
    )
    axes.set_xlim(left, right)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Legend above the axes, at the right of the title, where it hides nothing."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 0.99),
        ncols=3,
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _limits(differences: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Range of the axis, with zero in it and without the last outliers."""
    tail = np.quantile(differences, [0.0005, 0.9995])
    left, right = min(float(tail[0]), low, 0.0), max(float(tail[1]), high, 0.0)
    margin = 0.06 * (right - left) or 0.01
    return left - margin, right + margin


def _draw_recalls(axes: Axes, classes: Sequence[Label], counts: PairedCounts, *, with_champion: bool) -> None:
    champion, challenger = counts.recalls()
    present = np.flatnonzero(counts.n_rows)
    gaps = np.abs(challenger - champion)[present]
    shown = np.sort(present[np.argsort(-gaps, kind="stable")[:_MAX_CLASSES]])
    positions = np.arange(len(shown))
    if with_champion:
        axes.hlines(positions, champion[shown], challenger[shown], color=MUTED, lw=2, zorder=1)
        # A ring, so that it shows around a challenger at the same place.
        ring = axes.scatter(champion[shown], positions, s=110, color=SECOND, label="champion", zorder=3)
        ring.set_facecolor("none")
        ring.set_linewidth(2.2)
    axes.scatter(challenger[shown], positions, s=45, color=ACCENT, label="challenger", zorder=2)
    labels = shortened([classes[index] for index in shown])
    axes.set_yticks(
        positions,
        [f"{label}  ({counts.n_rows[index]})" for label, index in zip(labels, shown, strict=True)],
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    title = "Recall of each class (rows)"
    if len(shown) < len(present):
        title = f"Recall of {len(shown)} of {len(present)} classes (rows)"
    dress(axes, title, "recall")
    if with_champion:
        _legend(axes)
