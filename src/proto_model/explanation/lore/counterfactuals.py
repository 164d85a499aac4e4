"""Search for counterfactuals: near rows of another class, with few changes, each seen by the model.

It starts from what flips x already (single changes, neighbours, real rows of another class) and from
combinations of changes that are foretold to flip, and then takes changes back, wholly or in part, or trades a
part of one for a smaller part of another, as long as the class stays flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom
from proto_model.explanation.lore.improvement import Improvement
from proto_model.explanation.lore.moves import Moves, Values
from proto_model.explanation.lore.neighborhood import Questions
from proto_model.explanation.lore.starts import combined, margin, parts

__all__ = ["Flip", "search_flips"]

N_SPARE = 1  # flips that are improved beside those that are asked for
PRICE = 0.3  # of one more changed feature, in units of distance

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flip:
    """A changed row of another class, and the model's probabilities for it.

    Its cost is the distance, and a price for each changed feature.
    """

    values: Floats
    probabilities: Floats
    differs: NDArray[np.bool_]
    bits: int
    distance: float
    cost: float

    @cached_property
    def changed(self) -> tuple[int, ...]:
        """Features that differ."""
        return tuple(np.flatnonzero(self.differs).tolist())


class _Found:
    """All flips seen so far that may matter, the cheapest one per set of changed features."""

    def __init__(self, x: Floats, label: int, background: Background, n: int) -> None:
        self.x, self.label, self.background, self.n = x, label, background, n
        self._best: dict[int, Flip] = {}
        self._nearest: list[Flip] = []

    def add(self, X: Floats, probabilities: Floats) -> None:
        """Keep what flips."""
        flipped = np.flatnonzero(probabilities.argmax(axis=1) != self.label)
        distances = self.background.distance(self.x, X[flipped])
        near = distances + PRICE < self.limit()
        flipped, distances = flipped[near], distances[near]
        rows = X[flipped]
        differs = ~((rows == self.x) | (np.isnan(rows) & np.isnan(self.x)))
        costs = distances + PRICE * differs.sum(axis=1)
        sets = np.packbits(differs, axis=1)
        for k in np.argsort(costs, kind="stable").tolist():
            bits = int.from_bytes(sets[k].tobytes(), "big")
            if bits and (bits not in self._best or distances[k] < self._best[bits].distance):
                self._best[bits] = Flip(
                    rows[k], probabilities[flipped[k]], differs[k], bits, float(distances[k]), float(costs[k])
                )
        self._nearest = self._choose()

    def _choose(self) -> list[Flip]:
        chosen: list[Flip] = []
        for flip in sorted(self._best.values(), key=attrgetter("cost", "bits")):
            if not any(flip.bits & other.bits == other.bits for other in chosen):
                chosen.append(flip)
                if len(chosen) == self.n:
                    break
        return chosen

    def nearest(self) -> list[Flip]:
        """The cheapest flips, none of which changes all that a cheaper one changes."""
        return self._nearest

    def limit(self) -> float:
        """Cost from which a flip cannot be among the nearest."""
        known = self.nearest()
        return known[-1].cost if len(known) == self.n else np.inf

    def limits(self) -> Floats:
        """The same for each feature, for flips that change it and others."""
        limits = np.full(len(self.x), self.limit())
        for flip in self.nearest():
            if len(flip.changed) == 1:
                limits[flip.changed[0]] = flip.cost
        return limits


def search_flips(
    x: Floats,
    label: int,
    p_x: Floats,
    background: Background,
    values: Values,
    freedom: Freedom,
    moves: Moves,
    move_probabilities: Floats,
    near: Floats,
    n_flips: int,
    n_rounds: int,
    rng: np.random.Generator,
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
    found = _Found(x, label, background, n_flips + N_SPARE)
    found.add(moves.rows(x), move_probabilities)
    margin_x, gains = _gains(p_x, move_probabilities, label)
    start = np.concatenate(
        [
            combined(x, background, moves, gains, margin_x, PRICE, found.limits()),
            parts(x, freedom, moves, gains, near),
        ]
    )
    if len(start):
        found.add(start, (yield start))
    improving: dict[tuple[int, ...], Improvement] = {}
    for _ in range(n_rounds):
        flips = found.nearest()
        improving = {
            flip.changed: improving[flip.changed].at(flip.values)
            if flip.changed in improving
            else Improvement(x, flip.values, flip.changed, background, values)
            for flip in flips
        }
        X = np.concatenate([np.empty((0, len(x))), *(step.rows(rng) for step in improving.values())])
        if not len(X):
            break
        probabilities = yield X
        found.add(X, probabilities)
        flipped = probabilities.argmax(axis=1) != label
        first = 0
        for step in improving.values():
            step.learn(flipped[first : first + step.n_rows])
            first += step.n_rows
    return sorted(found.nearest()[:n_flips], key=attrgetter("distance", "changed"))


def _gains(p_x: Floats, p_moves: Floats, label: int) -> tuple[float, Floats]:
    """How far the row is from another class, and how far each single change takes it there."""
    own = float(margin(p_x[np.newaxis], label)[0])
    return own, own - margin(p_moves, label)
