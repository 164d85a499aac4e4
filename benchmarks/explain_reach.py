"""How near the nearest counterfactual can be at all, against how near it is found.

For `explain.py`: tables such as Adult have few numbers, so that everything nearer than one changed category
can be tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from proto_model.explanation import Explainer
from proto_model.explanation.background import Background
from proto_model.parameters import Parameters

__all__ = ["Reach", "draw_reach", "reach"]

Matrix = NDArray[np.float64]
CATEGORY = 1.0  # distance of a changed category: what is nearer changes numbers only
MAX_TRIED = 2_000_000


@dataclass(frozen=True)
class Reach:
    """Distance of the nearest counterfactual of each row; infinite where there is none below 1.

    Parameters
    ----------
    possible_one, possible : ndarray of shape (n_rows,)
        The least there is, with one changed feature and with any number of them; a changed category counts 1.
    found : ndarray of shape (n_rows,)
        What the explainer gives first.
    changed : ndarray of shape (n_rows,)
        How many features that changes.
    """

    possible_one: Matrix
    possible: Matrix
    found: Matrix
    changed: Matrix


def reach(
    background: Background,
    thresholds: list[Matrix],
    rows: Matrix,
    predict_proba: Callable[[Matrix], Matrix],
    explainer: Explainer,
) -> Reach:
    """Try everything nearer than one changed category, and ask the explainer.

    Tried are all combinations of the values next to the forest's thresholds, given per feature, on their far
    side: elsewhere its answer does not change. Values of numbers stay in the training range.
    """
    possible = np.array([_nearest(x, background, thresholds, predict_proba) for x in rows])
    first = [e["counterfactuals"][:1] for e in explainer.explain(rows, Parameters())]
    return Reach(
        possible_one=possible[:, 0],
        possible=possible[:, 1],
        found=np.array([c[0]["distance"] if c else np.inf for c in first]),
        changed=np.array([len(c[0]["changes"]) if c else np.nan for c in first]),
    )


def _beyond(own: float, thresholds: Matrix, background: Background, j: int) -> Matrix:
    """The nearest values beyond each threshold, seen from the feature's own value."""
    above, below = thresholds[thresholds >= own], thresholds[thresholds < own]
    if background.whole[j]:
        values = np.concatenate([np.floor(above) + 1, np.floor(below)])
    else:
        values = np.concatenate([np.nextafter(above, np.inf), below])
    return np.unique(values[(values >= background.low[j]) & (values <= background.high[j])])


def _nearest(
    x: Matrix, background: Background, thresholds: list[Matrix], predict_proba: Callable[[Matrix], Matrix]
) -> tuple[float, float]:
    """Least distance of a row of another class, with one changed feature and with any number."""
    label = predict_proba(x[np.newaxis]).argmax()
    one = any_number = np.inf
    numbers, distances = [], []
    for j in range(background.n_features):
        if not background.numeric[j]:
            X = np.repeat(x[np.newaxis], background.n_codes[j], axis=0)
            X[:, j] = np.arange(background.n_codes[j])
            if (predict_proba(X).argmax(axis=1) != label).any():
                one = any_number = CATEGORY
        elif not np.isnan(x[j]):
            values = _beyond(float(x[j]), thresholds[j], background, j)
            distance = np.abs(values - x[j]) / background.scale[j]
            near = distance < CATEGORY
            numbers.append((j, np.append(x[j], values[near])))
            distances.append(np.append(0.0, distance[near]))
    if np.prod([float(len(d)) for d in distances]) > 50 * MAX_TRIED:
        raise ValueError("Too many combinations of numbers to try them all; use a table like Adult.")
    total = sum(np.meshgrid(*distances, indexing="ij"))
    tried = np.argwhere((total > 0) & (total < CATEGORY))
    cost = total[tuple(tried.T)]
    order = np.argsort(cost, kind="stable")[:MAX_TRIED]
    tried, cost = tried[order], cost[order]
    X = np.repeat(x[np.newaxis], len(tried), axis=0)
    for k, (j, known) in enumerate(numbers):
        X[:, j] = known[tried[:, k]]
    if len(X):
        flips = predict_proba(X).argmax(axis=1) != label
        single = flips & ((tried > 0).sum(axis=1) == 1)
        one = min(one, float(cost[single][0])) if single.any() else one
        any_number = min(any_number, float(cost[flips][0])) if flips.any() else any_number
    return one, any_number


def draw_reach(result: Reach, goal: float, title: str) -> Figure:
    """Share of rows that have a counterfactual within a distance: what is possible, and what is found."""
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    n_rows = len(result.found)
    curves = [
        ("possible, any number of changes", result.possible, "0.55", "-", 4.5),
        ("possible, one change", result.possible_one, "black", ":", 1.6),
        ("found", result.found, "tab:blue", "-", 1.6),
        (
            "found, one change",
            np.where(result.changed == 1, result.found, np.inf),
            "tab:orange",
            "--",
            1.6,
        ),
    ]
    for name, distance, color, style, width in curves:
        ends = np.append(np.sort(distance[distance <= CATEGORY]), CATEGORY)
        shares = np.append(np.arange(1, len(ends)), len(ends) - 1) / n_rows
        axes.step(
            np.append(0.0, ends), np.append(0.0, shares), where="post", label=name,
            color=color, linestyle=style, linewidth=width,
        )  # fmt: skip
    axes.axvline(goal, color="tab:red", linewidth=1)
    axes.text(goal + 0.01, 0.02, f"goal: half\nof the rows\nwithin {goal:g}", color="tab:red")
    axes.axhline(0.5, color="0.85", linewidth=1, zorder=0)
    axes.set(xlim=(0, CATEGORY), ylim=(0, 1), title=title)
    axes.set_xlabel("distance of the nearest counterfactual (a changed category: 1)")
    axes.set_ylabel("share of rows")
    axes.legend(loc="upper left", frameon=False, bbox_to_anchor=(0, 0.93))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
