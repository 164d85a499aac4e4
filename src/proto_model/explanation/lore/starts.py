"""Rows from which the search for counterfactuals starts: several changes at once."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom
from proto_model.explanation.lore.moves import Moves

__all__ = ["combined", "margin", "parts"]

MAX_COMBINED = {2: 32, 3: 18}  # changes that are put together, by how many at a time
SLACK = (0.35, 0.15, 0.0, -0.3)  # of the way to another class that combinations may be foretold to lack
PER_SLACK = {2: 50, 3: 40}
MAX_STEPS = 10

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def margin(probabilities: Floats, label: int) -> Floats:
    """By how much a class is ahead of all others; negative where another one is ahead."""
    others = np.delete(probabilities, label, axis=1)
    margins: Floats = probabilities[:, label] - others.max(axis=1, initial=0.0)
    return margins


def combined(
    x: Floats, background: Background, moves: Moves, gain: Floats, needed: float, price: float, limit: Floats
) -> Floats:
    """Rows with two or three of the changes, those that are foretold to flip, the nearest first.

    What several changes do together is foretold as the sum of what each does alone, which is only a guess;
    so rows that should just not flip are tried as well as those that should with something to spare.

    Parameters
    ----------
    gain : ndarray of shape (n_moves,)
        How far each change alone takes the model towards another class.
    needed : float
        How far it has to be taken.
    price : float
        Cost of a changed feature beside its distance.
    limit : ndarray of shape (n_features,)
        Cost from which a row that changes the feature is of no use.
    """
    cost = background.distance(x, moves.rows(x)) + price
    worth = _worth(moves.feature, gain, cost)
    order = worth[np.argsort(-gain[worth] / cost[worth], kind="stable")]
    rows = [np.empty((0, len(x)))]
    for size, most in MAX_COMBINED.items():
        among = order[:most]
        picked = _combinations(len(among), size)
        features, costs, gains = moves.feature[among][picked], cost[among], gain[among]
        ordered = np.sort(features, axis=1)
        useful = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
        total = costs[picked].sum(axis=1)
        lacking = needed - gains[picked].sum(axis=1)
        useful &= total < limit[features].min(axis=1)
        by_cost = np.argsort(total, kind="stable")
        by_cost = by_cost[useful[by_cost]]
        _, sets = np.unique(ordered[by_cost] @ len(x) ** np.arange(size), return_inverse=True)
        chosen = np.zeros(len(picked), dtype=np.bool_)
        for slack in SLACK:
            enough = np.flatnonzero(lacking[by_cost] <= slack * needed)
            cheapest = np.full(len(by_cost), len(by_cost))  # of each set of features
            cheapest[sets[enough[::-1]]] = enough[::-1]
            chosen[by_cost[np.sort(cheapest[cheapest < len(by_cost)])[: PER_SLACK[size]]]] = True
        picked = picked[chosen]
        rows.append(_changed(x, features[chosen], moves.value[among][picked]))
    return np.concatenate(rows)


def _worth(feature: Ints, gain: Floats, cost: Floats) -> Ints:
    """Changes that take the model further than any cheaper change of the same feature does."""
    order = np.lexsort((-gain, cost, feature))
    order = order[gain[order] > 0]
    level = gain[order] + 4.0 * feature[order]  # gains are at most 2, so that features stay apart
    best = np.maximum.accumulate(np.append(-np.inf, level))[:-1]
    worth: Ints = order[level > best]
    return worth


@cache
def _combinations(n: int, size: int) -> Ints:
    """Indices of all choices of some among `n`."""
    return np.array(list(combinations(range(n), size)), dtype=np.int64).reshape(-1, size)


def parts(x: Floats, freedom: Freedom, moves: Moves, gain: Floats, near: Floats) -> Floats:
    """Near rows of another class, and the first two, three, ... of their changes alone, weightiest first."""
    Z = np.where(freedom.allows(x, near), near, x)
    differs = ~((Z == x) | (np.isnan(Z) & np.isnan(x)))
    effect = np.zeros(Z.shape)
    for j in np.unique(moves.feature[gain > 0]):
        # A change is taken to do what the nearest change of the same feature that was tried does.
        tried = np.flatnonzero(moves.feature == j)
        nearest = np.abs(moves.value[tried] - Z[:, j, np.newaxis]).argmin(axis=1)
        effect[:, j] = gain[tried[nearest]]
    rows = [Z[differs.any(axis=1)]]
    for z, order, n in zip(
        Z, np.argsort(np.where(differs, -effect, np.inf)), differs.sum(axis=1), strict=True
    ):
        steps = order[: min(n, MAX_STEPS)]
        first = np.tri(len(steps), dtype=np.bool_)[1:]  # the first two changes, the first three, ...
        values = np.where(first, z[steps], x[steps])
        rows.append(_changed(x, np.broadcast_to(steps, values.shape), values))
    return np.concatenate(rows)


def _changed(x: Floats, features: Ints, values: Floats) -> Floats:
    """Copies of the row, each with its own values for its own features."""
    X = np.repeat(x[np.newaxis], len(features), axis=0)
    X[np.arange(len(X))[:, np.newaxis], features] = values
    return X
