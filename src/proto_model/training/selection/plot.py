"""The picture of a search."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from proto_model.plotting import ACCENT, INK, MUTED, SECOND, dress, new_figure
from proto_model.training.selection.result import SearchResult
from proto_model.training.selection.scoring import BY_NAME


def search_plot(result: SearchResult) -> Figure:
    """Score of every candidate of a search, the variant's defaults first, and which one was chosen."""
    table, metric = result.table, BY_NAME[result.metric]
    scores = table[f"cv_{result.metric}"].to_numpy()
    spread = table.filter(regex=r"^fold_\d+$").std(axis=1, ddof=0).to_numpy()
    whole = (table["n_trees"] == table["n_trees"].max()).to_numpy()
    chosen = int(np.flatnonzero(table["chosen"])[0])
    tried = np.arange(1, len(table) + 1)
    figure = new_figure(7.4, 4.4)
    axes = figure.subplots()
    groups = (
        (whole, ACCENT, "full", "whole forest"),
        (~whole, MUTED, "none", "first trees only: fell behind"),
    )
    for rows, color, fill, label in groups:
        if rows.any():
            axes.errorbar(
                tried[rows], scores[rows], yerr=spread[rows], fmt="o", color=color, markersize=5,
                elinewidth=0.9, capsize=2, fillstyle=fill, label=label,
            )  # fmt: skip
    axes.plot(
        tried[chosen], scores[chosen], "o", color=SECOND, markersize=12, fillstyle="none",
        label=f"chosen ({scores[chosen]:.4f})",
    )  # fmt: skip
    axes.plot(tried[0], scores[0], "D", color=INK, markersize=9, fillstyle="none", label="defaults")
    x = "candidate (± standard deviation over the folds)"
    dress(axes, "Search over the hyperparameters", x, f"{metric.described}, cross-validation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.4, len(table) + 0.6)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    return figure
