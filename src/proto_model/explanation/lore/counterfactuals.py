"""Search for counterfactuals: near rows of another class, with few changes, each seen by the model.

It starts from what flips x already and from combinations of changes that are foretold to flip. Then it takes
changes back, wholly or in part, or trades parts of them, as long as the class stays flipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from proto_model.explanation.background import Background, differs
from proto_model.explanation.interface import Bools, Floats
from proto_model.explanation.lore.last_resort import climb, combinations
from proto_model.explanation.lore.moves import Moves, Values, combined, margin, parts
from proto_model.explanation.lore.search import Questions, Row

N_SPARE = 1  # flips that are improved beside those that are asked for
PRICE = 0.3  # of one more changed feature, in units of distance
MAX_STEPS = 20  # changed features that are taken back, one by one
AGAINST = 1e6  # price of a change that goes the wrong way: taken only where there is no other
N_TRADES = 16
SPREADS = (1.0, 0.6, 0.4, 0.25)  # of the trades, round by round


@dataclass(frozen=True, eq=False)
class Flip:
    """A changed row of another class; its cost is the distance, and a price for each changed feature."""

    values: Floats
    probabilities: Floats
    changed: tuple[int, ...]  # features that differ
    bits: int  # the same as the bits of a number
    distance: float
    cost: float
    against: tuple[int, ...]  # changed features that, alone, lead away from the class on average


class _Found:
    """All flips seen so far that may matter, the cheapest one per set of changed features."""

    def __init__(self, row: Row, label: int, n: int) -> None:
        self.row, self.x, self.label, self.n = row, row.x, label, n
        self.background = row.knowledge.background
        self._best: dict[int, Flip] = {}
        self.nearest: list[Flip] = []  # the cheapest, none of which changes all that a cheaper one changes

    def add(self, X: Floats, probabilities: Floats) -> None:
        flipped = np.flatnonzero(probabilities.argmax(axis=1) != self.label)
        distances = self.background.distance(self.x, X[flipped])
        near = distances + PRICE < self.limit()  # a flip changes at least one feature
        flipped, distances = flipped[near], distances[near]
        rows = X[flipped]
        changed = differs(self.x, rows)
        against = np.zeros_like(changed)
        places, features = np.nonzero(changed)
        wanted = probabilities[flipped].argmax(axis=1)
        against[places, features] = self.row.against(features, rows[places, features], wanted[places])
        costs = distances + PRICE * changed.sum(axis=1) + AGAINST * against.sum(axis=1)
        sets = np.packbits(changed, axis=1)  # the set of changed features as the bits of a number
        for k in np.argsort(costs, kind="stable").tolist():
            bits = int.from_bytes(sets[k].tobytes(), "big")
            if bits and (bits not in self._best or costs[k] < self._best[bits].cost):
                self._best[bits] = Flip(
                    rows[k],
                    probabilities[flipped[k]],
                    tuple(np.flatnonzero(changed[k]).tolist()),
                    bits,
                    float(distances[k]),
                    float(costs[k]),
                    tuple(np.flatnonzero(against[k]).tolist()),
                )
        self.nearest = []
        for flip in sorted(self._best.values(), key=attrgetter("cost", "bits")):
            # One that changes all that a cheaper one changes says nothing new.
            if not any(flip.bits & other.bits == other.bits for other in self.nearest):
                self.nearest.append(flip)
                if len(self.nearest) == self.n:
                    break

    def is_right(self) -> bool:
        """Whether one was found whose changes all go the right way."""
        return any(not flip.against for flip in self.nearest)

    def limit(self) -> float:
        """Cost from which a flip cannot be among the nearest."""
        return self.nearest[-1].cost if len(self.nearest) == self.n else np.inf

    def limits(self) -> Floats:
        """The same for each feature, for flips that change it and others."""
        limits = np.full(len(self.x), self.limit())
        for flip in self.nearest:
            if len(flip.changed) == 1:
                limits[flip.changed[0]] = flip.cost
        return limits


class _Improvement:
    """Tries to bring one changed row nearer to the row that is explained.

    Each round tries to take back every change, wholly or in part; several of those that worked in the round
    before at once; and trades, which take back a part of one change for a smaller part of another.
    """

    def __init__(
        self, x: Floats, flip: Floats, changed: tuple[int, ...], background: Background, values: Values
    ) -> None:
        self.changed = changed
        self.n_rows = self._n_together = 0
        self._x, self._flip = x, flip
        self._background, self._values = background, values
        self._failed: dict[int, float] = {}  # feature -> value nearest to the flip's that did not flip
        self._steps: list[tuple[int, float]] = []
        self._good: list[tuple[int, float]] = []
        self._base = flip
        self._round = 0

    def at(self, flip: Floats) -> _Improvement:
        """The same, with a nearer flip to go on from."""
        own = self._x
        # What failed farther away from the row than the nearer flip bounds no step of it.
        self._failed = {
            j: value for j, value in self._failed.items() if abs(value - own[j]) < abs(flip[j] - own[j])
        }
        self._flip = flip
        return self

    def rows(self, rng: np.random.Generator) -> Floats:
        together = np.repeat(self._base[np.newaxis], max(len(self._good) - 1, 0), axis=0)
        for k, (j, value) in enumerate(self._good):  # the first two good steps, the first three, ...
            together[max(k - 1, 0) :, j] = value
        self._base, self._steps = self._flip, list(self._single_steps())
        single = np.repeat(self._base[np.newaxis], len(self._steps), axis=0)
        for k, (j, value) in enumerate(self._steps):
            single[k, j] = value
        X = np.concatenate([together, single, self._trades(rng)])
        self._n_together, self.n_rows = len(together), len(X)
        self._round += 1
        return X

    def _single_steps(self) -> Iterator[tuple[int, float]]:
        """Feature and value of each step back: all the way, then a part of it."""
        for j in self.changed[:MAX_STEPS]:
            own = float(self._x[j])
            if len(self.changed) > 1:
                yield j, own
            limit = self._failed.get(j, own)
            if self._values.directed[j] and not np.isnan(limit):
                for value in self._values.between(j, limit, float(self._base[j])):
                    yield j, value

    def _trades(self, rng: np.random.Generator) -> Floats:
        """Rows a little nearer, with the distance shared out differently among the changed numbers."""
        x, flip, background = self._x, self._flip, self._background
        numbers = [j for j in self.changed[:MAX_STEPS] if background.numeric[j] and not np.isnan(x[j])]
        if len(numbers) < 2:
            return np.empty((0, len(x)))
        away = np.abs(flip[numbers] - x[numbers]) / background.scale[numbers]
        spread = SPREADS[min(self._round, len(SPREADS) - 1)]
        shares = away * np.exp(spread * rng.standard_normal((N_TRADES, len(numbers))))
        # Each trade is nearer than the flip as a whole, from much nearer to just so.
        totals = np.linspace(1 - spread / 2, 0.99, N_TRADES) * away.sum()
        shares *= (totals / shares.sum(axis=1))[:, np.newaxis]
        X = np.repeat(flip[np.newaxis], N_TRADES, axis=0)
        for k, j in enumerate(numbers):
            up = flip[j] > x[j]
            target = x[j] + np.where(up, 1.0, -1.0) * shares[:, k] * background.scale[j]
            X[:, j] = self._values.towards(j, float(x[j]), target, up)
        return X

    def learn(self, flipped: Bools) -> None:
        """Remember which single steps kept the class flipped."""
        singles = flipped[self._n_together : self._n_together + len(self._steps)]
        best: dict[int, float] = {}
        for (j, value), good in zip(self._steps, singles, strict=True):
            if good:
                best.setdefault(j, value)  # the full step back comes first
            else:
                self._failed[j] = value
        self._good = list(best.items())


def search_flips(
    row: Row, p_x: Floats, moves: Moves, p_moves: Floats, near: Floats, n_rounds: int
) -> Questions:
    """Flips of a row, nearest first, at most as many as its options ask for; and `_tried_all`.

    `p_x` and `p_moves` are the model's answers to the row and to single changes of it, `near` rows of another
    class, nearest first, in which values that may not change are put back.
    """
    x, background, label = row.x, row.knowledge.background, int(p_x.argmax())
    rng, n_flips = row.rng("trades"), row.options.max_counterfactuals
    found = _Found(row, label, n_flips + N_SPARE)
    found.add(moves.rows(x), p_moves)
    needed = float(margin(p_x[np.newaxis], label)[0])
    gains = needed - margin(p_moves, label)
    price = np.where(_against(row, moves, p_moves, label), PRICE + AGAINST, PRICE)
    start = np.concatenate(
        [
            combined(x, background, moves, gains, needed, price, found.limits()),
            parts(x, row.freedom, moves, gains, near),
        ]
    )
    if len(start):
        found.add(start, (yield start))
    n_combinations = 0
    if not found.is_right():
        n_combinations = yield from _tried_all(row, found, moves)
    # What an improvement has learned stays of use as long as a flip with the same changes is among the best.
    improving: dict[tuple[int, ...], _Improvement] = {}
    for _ in range(n_rounds):
        improving = {
            flip.changed: improving[flip.changed].at(flip.values)
            if flip.changed in improving
            else _Improvement(x, flip.values, flip.changed, background, row.knowledge.values)
            for flip in found.nearest
        }
        X = np.concatenate([np.empty((0, len(x))), *(step.rows(rng) for step in improving.values())])
        if not len(X):
            break
        probabilities = yield X
        found.add(X, probabilities)
        flipped = probabilities.argmax(axis=1) != label
        for step in improving.values():
            step.learn(flipped[: step.n_rows])
            flipped = flipped[step.n_rows :]
    right = [flip for flip in found.nearest if not flip.against]
    return sorted((right or found.nearest)[:n_flips], key=attrgetter("distance", "changed")), n_combinations


def _tried_all(row: Row, found: _Found, moves: Moves) -> Questions:
    """Try what the search left out; the number of combinations of values if all were tried, else 0."""
    X = combinations(row)
    if X is not None:
        found.add(X, (yield X))
        return len(X)
    steps = climb(row, found.label, moves)
    X = next(steps, None)
    while X is not None:
        probabilities = yield X
        found.add(X, probabilities)
        try:
            X = steps.send((probabilities, bool(found.nearest)))
        except StopIteration:
            break
    return 0


def _against(row: Row, moves: Moves, p_moves: Floats, label: int) -> Bools:
    """Which single changes lead, on average, away from the class that is the next likely after them."""
    others = p_moves.copy()
    others[:, label] = -1.0
    return row.against(moves.feature, moves.value, others.argmax(axis=1))
