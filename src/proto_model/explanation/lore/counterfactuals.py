"""Search for counterfactuals: near rows of another class, with few changes, each seen by the model.

It starts from what flips x already (single changes, neighbours, real rows of another class), adds
combinations of the changes that weigh most, and then takes changes back, wholly or in part, as long as the
class stays flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom
from proto_model.explanation.lore.moves import Moves, Values
from proto_model.explanation.lore.neighborhood import Questions

__all__ = ["Flip", "search_flips"]

N_COMBINED = 8
MAX_STEPS = 10
PRICE = 0.5  # of one more changed feature, in units of distance

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flip:
    """A changed row of another class, and the model's probabilities for it."""

    values: Floats
    probabilities: Floats
    distance: float
    changed: tuple[int, ...]

    @property
    def cost(self) -> float:
        """Distance, and a price for each changed feature."""
        return self.distance + PRICE * len(self.changed)


@dataclass(eq=False)
class _Found:
    """All flips seen so far, the cheapest one per set of changed features."""

    x: Floats
    label: int
    background: Background
    best: dict[tuple[int, ...], Flip]

    def add(self, X: Floats, probabilities: Floats) -> None:
        """Keep what flips."""
        flipped = np.flatnonzero(probabilities.argmax(axis=1) != self.label)
        if not len(flipped):
            return
        rows = X[flipped]
        distances = self.background.distance(self.x, rows)
        differs = ~((rows == self.x) | (np.isnan(rows) & np.isnan(self.x)))
        for k in np.argsort(distances + PRICE * differs.sum(axis=1), kind="stable")[:40]:
            changed = tuple(np.flatnonzero(differs[k]).tolist())
            known = self.best.get(changed)
            if changed and (known is None or distances[k] < known.distance):
                self.best[changed] = Flip(rows[k], probabilities[flipped[k]], float(distances[k]), changed)

    def nearest(self, n: int) -> list[Flip]:
        """The cheapest flips, none of which changes all that a cheaper one changes."""
        chosen: list[Flip] = []
        for flip in sorted(self.best.values(), key=lambda f: (f.cost, f.changed)):
            if not any(set(other.changed) <= set(flip.changed) for other in chosen):
                chosen.append(flip)
            if len(chosen) == n:
                break
        return chosen


def search_flips(
    x: Floats,
    label: int,
    background: Background,
    values: Values,
    freedom: Freedom,
    moves: Moves,
    move_probabilities: Floats,
    near: Floats,
    n_flips: int,
    n_rounds: int,
) -> Questions:
    """Flips of row `x`, nearest first.

    Parameters
    ----------
    x, label : ndarray of shape (n_features,), int
        The row and the index of its class.
    moves, move_probabilities
        Single changes, and the model's answers to them.
    near : ndarray of shape (n_rows, n_features)
        Rows of another class, nearest first; values that may not change are put back first.
    n_flips, n_rounds : int
        How many to return at most, and how often to take changes back.
    """
    found = _Found(x, label, background, {})
    found.add(moves.rows(x), move_probabilities)
    starts = _starts(x, background, freedom, moves, move_probabilities[:, label], near)
    if len(starts):
        found.add(starts, (yield starts))
    improving = {flip.changed: _Improvement(flip) for flip in found.nearest(n_flips + 2)}
    for _ in range(n_rounds):
        tried = [row for step in improving.values() for row in step.rows(x, values)]
        if not tried:
            break
        X = np.array(tried)
        probabilities = yield X
        found.add(X, probabilities)
        flipped = probabilities.argmax(axis=1) != label
        start = 0
        for step in improving.values():
            step.learn(flipped[start : start + step.n_rows])
            start += step.n_rows
        kept = improving
        improving = {}
        for flip in found.nearest(n_flips + 2):
            old = kept.get(flip.changed)
            improving[flip.changed] = old.at(flip) if old is not None else _Improvement(flip)
    return sorted(found.nearest(n_flips), key=lambda f: (f.distance, f.changed))


class _Improvement:
    """Tries to bring one flip nearer: single steps back first, then several of those that kept the class."""

    def __init__(self, flip: Flip) -> None:
        self.flip = flip
        self.n_rows = self._n_combined = 0
        self._failed: dict[int, float] = {}  # feature -> value nearest to the flip's that did not flip
        self._steps: list[tuple[int, float]] = []
        self._good: list[tuple[int, float]] = []
        self._base = flip.values

    def at(self, flip: Flip) -> _Improvement:
        """The same, with a nearer flip to go on from."""
        self.flip = flip
        return self

    def rows(self, x: Floats, values: Values) -> list[Floats]:
        """Rows to ask the model about."""
        rows = []
        for n in range(2, len(self._good) + 1):  # several of the last round's good steps at once
            row = self._base.copy()
            for j, value in self._good[:n]:
                row[j] = value
            rows.append(row)
        self._n_combined = len(rows)
        self._base, self._steps = self.flip.values, []
        for j in self.flip.changed[: 2 * MAX_STEPS]:
            if len(self.flip.changed) > 1:
                self._steps.append((j, float(x[j])))
            limit = self._failed.get(j, float(x[j]))
            if values.directed[j] and not np.isnan(limit):
                self._steps += [(j, v) for v in values.between(j, limit, float(self._base[j]))]
        for j, value in self._steps:
            row = self._base.copy()
            row[j] = value
            rows.append(row)
        self.n_rows = len(rows)
        return rows

    def learn(self, flipped: NDArray[np.bool_]) -> None:
        """Remember which single steps kept the class flipped."""
        singles = flipped[self._n_combined :]
        best: dict[int, float] = {}
        for (j, value), good in zip(self._steps, singles, strict=True):
            if good:
                best.setdefault(j, value)  # the full step back comes first
            else:
                self._failed[j] = value
        self._good = list(best.items())


def _starts(
    x: Floats, background: Background, freedom: Freedom, moves: Moves, p_label: Floats, near: Floats
) -> Floats:
    """Rows with several changes: the weightiest single ones together, and parts of the near rows."""
    weight = p_label.max(initial=0.0) - p_label
    cost = background.distance(x, moves.rows(x)) if len(moves.feature) else np.empty(0)
    rows: list[Floats] = []
    picks: list[int] = []
    for order in (np.argsort(-weight / (cost + PRICE), kind="stable"), np.argsort(-weight, kind="stable")):
        # the best change of each of the first few features in this order
        best = dict.fromkeys(moves.feature[order].tolist())
        picks += [int(order[moves.feature[order] == j][0]) for j in list(best)[:N_COMBINED]]
    picks = [k for k in picks if weight[k] > 0]
    for size, among in ((2, picks), (3, picks[:5]), (3, picks[N_COMBINED : N_COMBINED + 5])):
        chosen = np.array(list(combinations(dict.fromkeys(among), size)), dtype=np.int64).reshape(-1, size)
        features = moves.feature[chosen]
        ordered = np.sort(features, axis=1)
        different = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
        rows.append(_changed(x, features[different], moves.value[chosen[different]]))
    # A change takes the model as far from the class as the nearest change of the same feature that was tried.
    tried = {int(j): np.flatnonzero(moves.feature == j) for j in np.unique(moves.feature)}
    for z in near:
        z = np.where(freedom.allows(x, z), z, x)
        differs = np.flatnonzero(~((z == x) | (np.isnan(z) & np.isnan(x))))
        effect = np.array(
            [
                weight[tried[j][np.abs(moves.value[tried[j]] - z[j]).argmin()]] if j in tried else 0.0
                for j in differs.tolist()
            ]
        )
        order = differs[np.argsort(-effect, kind="stable")]
        steps = order[:MAX_STEPS]
        first = np.tri(len(steps), dtype=np.bool_)[1:]  # the first two changes, the first three, ...
        values = np.where(first, z[steps], x[steps])
        rows.append(_changed(x, np.broadcast_to(steps, values.shape), values))
        if len(order):
            rows.append(z[np.newaxis])
    return np.concatenate(rows)


def _changed(x: Floats, features: NDArray[np.int64], values: Floats) -> Floats:
    """Copies of the row, each with its own values for its own features."""
    X = np.repeat(x[np.newaxis], len(features), axis=0)
    X[np.arange(len(X))[:, np.newaxis], features] = values
    return X
