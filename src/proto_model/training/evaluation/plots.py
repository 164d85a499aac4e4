"""Plots of one variant (confusion matrix, importances, its search) and of all variants side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from proto_model.training.evaluation.style import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    SECOND,
    dress,
    new_figure,
    shortened,
)

__all__ = ["confusion_matrix_plot", "importance_plot", "leaderboard_plot", "search_plot"]

_BLUES = LinearSegmentedColormap.from_list("proto_blues", ["#ffffff", "#c3d9ee", "#5b93c9", "#17406d"])
_MAX_ANNOTATED = 20
_MAX_FEATURES = 20


def confusion_matrix_plot(
    y: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[object]
) -> Figure:
    """Counts of true against predicted classes, colored by the share of each true class.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples,)
        Class of each row and the predicted one, as indices.
    labels : sequence of length n_classes
        Class labels.

    Returns
    -------
    Figure
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
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label="share of the true class")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bar.outline.set_visible(False)
    return figure


def importance_plot(importances: pd.DataFrame) -> Figure:
    """Bars of the most important features.

    Parameters
    ----------
    importances : DataFrame
        As `permutation_importance` gives it: `feature`, `importance`, `std`, sorted.

    Returns
    -------
    Figure
        The 20 most important ones, how many were left out in the title.
    """
    shown = importances.head(_MAX_FEATURES).iloc[::-1]
    figure = new_figure(7.4, 1.5 + 0.27 * len(shown))
    axes = figure.subplots()
    axes.barh(
        range(len(shown)), shown["importance"], xerr=shown["std"], color=ACCENT, height=0.7,
        error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
    )  # fmt: skip
    left_out = len(importances) - len(shown)
    more = f", {len(shown)} of {len(importances)} features" if left_out else ""
    dress(
        axes,
        f"Permutation importance{more}",
        "probability that the true class loses when shuffled (test rows)",
    )
    axes.set_yticks(range(len(shown)), shortened(list(shown["feature"]), 30))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(False, axis="y")
    return figure


def search_plot(scores: NDArray[np.float64], stds: NDArray[np.float64], default: int | None) -> Figure:
    """Cross-validated score of every candidate of a search, in the order tried, and the best so far.

    Parameters
    ----------
    scores, stds : ndarray of shape (n_candidates,)
        Mean and standard deviation over the folds; a failed candidate is NaN.
    default : int or None
        Position of the candidate with scikit-learn's default hyperparameters.
    """
    figure = new_figure(7.4, 4.4)
    axes = figure.subplots()
    tried = np.arange(1, len(scores) + 1)
    axes.errorbar(
        tried, scores, yerr=stds, fmt="o", color=ACCENT, markersize=5, elinewidth=0.9, capsize=2, alpha=0.85,
        label="candidate (± standard deviation over the folds)",
    )  # fmt: skip
    best_so_far = np.fmax.accumulate(scores)
    axes.step(
        tried,
        best_so_far,
        where="post",
        color=SECOND,
        linewidth=1.8,
        label=f"best so far ({best_so_far[-1]:.4f})",
    )
    if default is not None:
        axes.plot(
            tried[default], scores[default], "D", color=INK, markersize=8, fillstyle="none", label="defaults"
        )
    dress(axes, "Search over the hyperparameters", "candidate", "balanced accuracy (cross-validation)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.4, len(scores) + 0.6)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def leaderboard_plot(
    variants: Sequence[str],
    cv_scores: Sequence[float],
    cv_stds: Sequence[float],
    test_scores: Sequence[float],
) -> Figure:
    """Balanced accuracy of every variant, in cross-validation and on the test rows, the best at the top.

    Parameters
    ----------
    variants : sequence of str
        Names, the best first.
    cv_scores, cv_stds : sequence of float
        Mean and standard deviation over the folds: what the choice is made by.
    test_scores : sequence of float
        On the test rows, which choose nothing.
    """
    figure = new_figure(7.4, 1.9 + 0.55 * len(variants))
    axes = figure.subplots()
    rows = np.arange(len(variants))[::-1]
    axes.errorbar(
        cv_scores, rows + 0.12, xerr=cv_stds, fmt="o", color=ACCENT, markersize=7, capsize=3,
        label="cross-validation (chooses)",
    )  # fmt: skip
    axes.plot(test_scores, rows - 0.12, "D", color=SECOND, markersize=7, label="test rows (judge)")
    for row, score, test in zip(rows, cv_scores, test_scores, strict=True):
        axes.annotate(
            f"{score:.4f}", (score, row + 0.12), xytext=(0, 7), textcoords="offset points", ha="center",
            color=ACCENT, fontsize=9,
        )  # fmt: skip
        axes.annotate(
            f"{test:.4f}", (test, row - 0.12), xytext=(0, -15), textcoords="offset points", ha="center",
            color=SECOND, fontsize=9,
        )  # fmt: skip
    dress(axes, "Leader board", "balanced accuracy")
    axes.set_yticks(rows, shortened(variants, 30))
    axes.set_ylim(-0.6, len(variants) - 0.4)
    axes.margins(x=0.08)
    axes.grid(False, axis="y")
    for row in rows[:-1]:
        axes.axhline(row - 0.5, color=GRID, linewidth=0.8)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return figure
