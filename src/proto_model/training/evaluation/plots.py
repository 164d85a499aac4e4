"""Figures of one variant: curves, confusion matrix, importances, its search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from proto_model.plotting import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    SECOND,
    class_colors,
    dress,
    new_figure,
    shortened,
    within_one,
)
from proto_model.statistics.shares import share_interval

_BLUES = LinearSegmentedColormap.from_list("proto_blues", ["#ffffff", "#c3d9ee", "#5b93c9", "#17406d"])
_MAX_ANNOTATED = 20
_MAX_FEATURES = 20
_MAX_NAMED = 10
_MAX_BINS = 10
_ROWS_PER_BIN = 20
_N_BARS = 20


def roc_plot(y: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[object]) -> Figure:
    """ROC curve of the second of two classes, or of each of many against the rest with their mean.

    Classes without rows on both sides are left out. As in the other plots, `y` has class indices of shape
    (n_samples,), `probabilities` the shape (n_samples, n_classes), and `labels` are the classes' names.
    """
    figure = new_figure(7.4, 5.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="chance")
    grid = np.linspace(0, 1, 501)
    mean, areas = np.zeros_like(grid), list[float]()
    for index, name, color in _drawn_classes(y, labels, both_of_two=False):
        fpr, tpr, _ = roc_curve(y == index, probabilities[:, index])
        area = roc_auc_score(y == index, probabilities[:, index])
        _draw(axes, (fpr, tpr), color, f"{name} (AUC {area:.3f})", len(labels))
        mean += np.interp(grid, fpr, tpr)
        areas.append(float(area))
    if len(areas) > 1:
        x, y_mean = np.r_[0, grid], np.r_[0, mean / len(areas)]
        label = f"mean of {len(areas)} classes (AUC {np.mean(areas):.3f})"
        axes.plot(x, y_mean, color=INK, linewidth=2.2, linestyle=(0, (2, 1)), label=label)
    dress(axes, "ROC on the test rows", "false positive rate", "true positive rate")
    _finish(axes, "lower right", len(labels))
    return figure


def precision_recall_plot(
    y: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[object]
) -> Figure:
    """Precision against recall for each class; parameters and result as in `roc_plot`."""
    figure = new_figure(7.4, 5.6)
    axes = figure.subplots()
    precisions = []
    for index, name, color in _drawn_classes(y, labels, both_of_two=True):
        precision, recall, _ = precision_recall_curve(y == index, probabilities[:, index])
        area = average_precision_score(y == index, probabilities[:, index])
        _draw(axes, (recall, precision), color, f"{name} (AP {area:.3f})", len(labels), "steps-post")
        precisions.append(area)
    if len(labels) > _MAX_NAMED and precisions:
        axes.plot([], [], color="none", label=f"mean AP {np.mean(precisions):.3f}")
    dress(axes, "Precision and recall on the test rows", "recall", "precision")
    _finish(axes, "lower left", len(labels))
    return figure


def calibration_plot(
    y: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[object]
) -> Figure:
    """How often predictions come true against how probable they were said to be.

    With two classes it is about the second class's probability; with more about that of the predicted class.
    Bins have about equally many rows, at least 20 where there are that many; bars are 95 % intervals
    (Clopper and Pearson) of the share in a bin. Parameters as in `roc_plot`.
    """
    stated, came_true = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    what = "of the prediction"
    if len(labels) == 2:
        stated, came_true, what = probabilities[:, 1], y == 1, f"of {shortened(labels[1:])[0]}"
    bins = _even_bins(stated)
    n = np.bincount(bins)
    mean_stated = np.bincount(bins, weights=stated) / n
    right = np.bincount(bins, weights=came_true)
    share = right / n
    ends = [share_interval(int(k), int(rows)) for k, rows in zip(right, n, strict=True)]
    low, high = (np.array([getattr(end, side) for end in ends]) for side in ("low", "high"))
    error = float((n * np.abs(mean_stated - share)).sum() / n.sum())

    figure = new_figure(7.4, 6.2)
    axes, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    axes.errorbar(
        mean_stated, share, yerr=[share - low, high - share], color=ACCENT, marker="o", markersize=5,
        linewidth=1.8, elinewidth=1, capsize=2, clip_on=False,
        label=f"test rows, about {len(y) // len(n):,} a point (mean deviation {error:.3f})",
    )  # fmt: skip
    dress(axes, "Calibration on the test rows", y="fraction that was right")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=True, framealpha=0.9, edgecolor=GRID, fontsize=9, loc="lower right")
    counts = np.histogram(stated, bins=_N_BARS, range=(0, 1))[0]
    histogram.bar((np.arange(_N_BARS) + 0.5) / _N_BARS, counts, width=0.9 / _N_BARS, color=SECOND, alpha=0.85)
    dress(histogram, "", f"predicted probability {what}", "rows")
    return figure


def confusion_matrix_plot(
    y: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[object]
) -> Figure:
    """Counts of true against predicted classes, colored by the share of each true class.

    Cells show count and share for up to 20 classes, only colors for more.
    """
    n_classes = len(labels)
    counts = confusion_matrix(y, predicted, labels=range(n_classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = shortened(labels, 18 if n_classes <= 12 else 10)
    cell = float(np.clip(4.2 / n_classes, 0.52 if n_classes <= _MAX_ANNOTATED else 0.16, 1.5))
    side = cell * n_classes
    figure = new_figure(side + 3.2, side + 1.9)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    dress(axes, "Confusion matrix on the test rows", "predicted", "true")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if n_classes <= 40:
        slanted = n_classes > 3 and max(map(len, names)) > 4
        axes.set_xticks(
            range(n_classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
        )  # fmt: skip
        axes.set_yticks(range(n_classes), names)
    if n_classes <= _MAX_ANNOTATED:
        for row, column in np.ndindex(counts.shape):
            count, share = counts[row, column], shares[row, column]
            text = f"{count:,}\n{share:.0%}" if n_classes <= 6 else f"{count:,}"
            ink = "white" if share > 0.55 else (INK if count else MUTED)
            axes.text(
                column, row, text, ha="center", va="center", color=ink, fontsize=11 if n_classes <= 6 else 8
            )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label="fraction of the true class")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bar.outline.set_visible(False)
    return figure


def importance_plot(importances: pd.DataFrame) -> Figure:
    """Bars of the 20 most important features, from what `permutation_importance` returns."""
    shown = importances.head(_MAX_FEATURES).iloc[::-1]
    figure = new_figure(7.4, 1.5 + 0.27 * len(shown))
    axes = figure.subplots()
    axes.barh(
        range(len(shown)), shown["importance"], xerr=shown["std"], color=ACCENT, height=0.7,
        error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
    )  # fmt: skip
    left_out = len(importances) - len(shown)
    more = f", {len(shown)} of {len(importances)} features" if left_out else ""
    x_label = "loss of the true class's probability when shuffled (test rows)"
    dress(axes, f"Permutation importance{more}", x_label)
    axes.set_yticks(range(len(shown)), shortened(list(shown["feature"]), 30))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(False, axis="y")
    return figure


def search_plot(scores: NDArray[np.float64], stds: NDArray[np.float64]) -> Figure:
    """Score of every candidate of a search, the variant's defaults first, and the best so far."""
    figure = new_figure(7.4, 4.4)
    axes = figure.subplots()
    tried = np.arange(1, len(scores) + 1)
    within = np.array([np.minimum(stds, scores), np.minimum(stds, 1 - scores)]).clip(0)
    axes.errorbar(
        tried, scores, yerr=within, fmt="o", color=ACCENT, markersize=5, elinewidth=0.9, capsize=2,
        alpha=0.85, label="candidate (± standard deviation over the folds)",
    )  # fmt: skip
    best_so_far = np.maximum.accumulate(scores)
    label = f"best so far ({best_so_far[-1]:.4f})"
    axes.step(tried, best_so_far, where="post", color=SECOND, linewidth=1.8, label=label)
    axes.plot(tried[0], scores[0], "D", color=INK, markersize=8, fillstyle="none", label="defaults")
    dress(axes, "Search over the hyperparameters", "candidate", "balanced accuracy (cross-validation)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.4, len(scores) + 0.6)
    within_one(axes.set_ylim, axes.get_ylim())
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def _drawn_classes(
    y: NDArray[np.int64], labels: Sequence[object], *, both_of_two: bool
) -> list[tuple[int, str, str]]:
    """Index, short name and color of the classes that have rows of both sides."""
    n_classes = len(labels)
    names, colors = shortened(labels), class_colors(n_classes)
    chosen = [1] if n_classes == 2 and not both_of_two else range(n_classes)
    return [(index, names[index], colors[index]) for index in chosen if 0 < (y == index).sum() < len(y)]


def _draw(
    axes: Axes,
    curve: tuple[NDArray[np.float64], NDArray[np.float64]],
    color: str,
    label: str,
    n_classes: int,
    drawstyle: str = "default",
) -> None:
    many = n_classes > _MAX_NAMED
    axes.plot(
        *curve, color=color, linewidth=0.8 if many else (2.2 if n_classes == 2 else 1.5),
        alpha=0.5 if many else 0.95, label=None if many else label, drawstyle=drawstyle, clip_on=False,
    )  # fmt: skip


def _finish(axes: Axes, corner: Literal["lower left", "lower right"], n_classes: int) -> None:
    """Limits, and the legend: in a corner while it is small, beside the axes when it is not."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        axes.text(0.5, 0.5, "not defined: the test rows are all of one class", ha="center", color=MUTED)
    elif n_classes <= 3 or n_classes > _MAX_NAMED:
        axes.legend(handles=handles, framealpha=0.9, edgecolor=GRID, fontsize=9, loc=corner)
    else:
        axes.legend(handles=handles, frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _even_bins(stated: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each probability: bins of about as many rows each, equal probabilities in the same one."""
    n_bins = int(np.clip(len(stated) // _ROWS_PER_BIN, 1, _MAX_BINS))
    values, rows = np.unique(stated, return_counts=True)
    middle = np.cumsum(rows) - rows / 2
    bins = np.minimum((middle / len(stated) * n_bins).astype(np.int64), n_bins - 1)
    # What equal probabilities leave with too few rows goes to the bin below it, or above the first one.
    sizes = np.bincount(bins, weights=rows, minlength=n_bins)
    merged = np.zeros(n_bins, dtype=np.int64)
    last, held = 0, sizes[0]
    for index in range(1, n_bins):
        if held >= _ROWS_PER_BIN and sizes[index:].sum() >= _ROWS_PER_BIN:
            last, held = last + 1, 0.0
        merged[index] = last
        held += sizes[index]
    return merged[bins][np.searchsorted(values, stated)]
