"""Changes of a row worth trying: of single features, then of several at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from proto_model.explanation.background import Background, Freedom, differs
from proto_model.explanation.interface import Bools, Floats, Ints

VALUES_PER_NUMBER = 12
VALUES_PER_CATEGORY = 24
MAX_MOVES = 400
MAX_COMBINED = {2: 32, 3: 18}  # changes that are put together, by how many at a time
SLACK = (0.35, 0.15, 0.0, -0.3)  # of the way to another class that combinations may be foretold to lack
PER_SLACK = {2: 50, 3: 40}
MAX_STEPS = 10


@dataclass(frozen=True, eq=False)
class Values:
    """Values that exist, per feature.

    `known` are all different values of the background within the training range, increasing, and between two
    neighbouring numbers one more, with as few digits as it takes. `tried` are a few of them, evenly spread
    over the rows; of categories the most frequent ones.
    """

    directed: Bools  # whether it is a number
    whole: Bools  # whether only whole numbers are possible
    gap: Floats  # least difference between values of the background; 1 between whole ones
    known: tuple[Floats, ...]
    tried: tuple[Floats, ...]

    @classmethod
    def of(cls, background: Background) -> Values:
        """Values of a background."""
        known, tried, gap = [], [], np.ones(background.n_features)
        per_number = int(np.clip(MAX_MOVES // max(background.n_features, 1), 2, VALUES_PER_NUMBER))
        for j in range(background.n_features):
            column = background.matrix[:, j]
            column = column[(column >= background.low[j]) & (column <= background.high[j])]
            values, counts = np.unique(column, return_counts=True)
            known.append(_with_between(values, background.whole[j]) if background.numeric[j] else values)
            if not background.whole[j]:
                gap[j] = np.diff(values).min(initial=np.inf)
            if background.numeric[j]:
                # half of them by rows, half by different values: one value may fill most rows
                pick = np.linspace(0, 1, max(per_number // 2, 2) if len(column) else 0)
                by = [kind[(pick * (len(kind) - 1)).astype(np.int64)] for kind in (np.sort(column), values)]
                tried.append(np.unique(np.concatenate(by)))
            else:
                frequent = np.argsort(-counts, kind="stable")[:VALUES_PER_CATEGORY]
                tried.append(np.sort(values[frequent]))
        return cls(background.numeric, background.whole, gap, tuple(known), tuple(tried))

    def between(self, j: int, a: float, b: float) -> list[float]:
        """Values a quarter, half and three quarters (by rank) of the way from `a` to `b`, without either.

        Where none is known between them, one with few digits, unless they are as near as values ever are.
        """
        values = self.known[j]
        low, high = (a, b) if a < b else (b, a)
        first = int(values.searchsorted(low, side="right"))
        n = int(values.searchsorted(high, side="left")) - first
        in_range = len(values) > 0 and values[0] <= low and high <= values[-1]
        if n <= 0 and self.directed[j] and in_range and high - low > self.gap[j]:
            values = _with_between(np.array([low, high]), bool(self.whole[j]))
            first, n = 1, len(values) - 2
        ranks = sorted({n // 4, n // 2, 3 * n // 4}) if n > 0 else []
        return [float(values[first + rank]) for rank in (ranks if a < b else reversed(ranks))]

    def towards(self, j: int, own: float, target: Floats, up: bool) -> Floats:
        """Known values nearest to targets on `own`'s side of them, or `own` where there is none between."""
        values = self.known[j]
        if up:
            found = values[np.maximum(values.searchsorted(target, side="right") - 1, 0)]
            return np.where((found > own) & (found <= target), found, own)
        found = values[np.minimum(values.searchsorted(target, side="left"), len(values) - 1)]
        return np.where((found < own) & (found >= target), found, own)


def _with_between(values: Floats, whole: bool) -> Floats:
    """Increasing numbers, and between each two of them the one with the fewest digits near the middle."""
    low, high = values[:-1], values[1:]
    # From few places to more: the first that has a number strictly between the two wins.
    middle = low + (high - low) / 2
    found = np.full(len(middle), np.nan)
    with np.errstate(divide="ignore"):
        first = -np.floor(np.log10(np.maximum(high - low, 1e-300))).astype(np.int64)
    for more in range(-1, 2):
        places = np.clip(first + more, -300, 0 if whole else 300)
        # A power of ten below 1 is no exact number: 175 * 0.001 is 0.17500000000000002, 175 / 1000 is 0.175.
        power = 10.0 ** np.abs(places).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # of the way that is not taken
            short = np.where(places > 0, np.round(middle * power) / power, np.round(middle / power) * power)
        found = np.where(np.isnan(found) & (low < short) & (short < high), short, found)
    return np.union1d(values, found[~np.isnan(found)])


@dataclass(frozen=True, eq=False)
class Moves:
    """Single changes of a row: feature and new value of each, and the model's answer once it is there."""

    feature: Ints
    value: Floats

    @classmethod
    def of(cls, x: Floats, values: Values, freedom: Freedom, rng: np.random.Generator) -> Moves:
        """All changes to tried values that are allowed; a random share of them when there are too many."""
        feature = np.repeat(np.arange(len(x)), [len(tried) for tried in values.tried])
        value = np.concatenate(values.tried)
        own = x[feature]
        chosen = np.flatnonzero(freedom.allows(own, value, feature) & (value != own))
        if len(chosen) > MAX_MOVES:
            chosen = np.sort(rng.choice(chosen, MAX_MOVES, replace=False))
        return cls(feature[chosen], value[chosen])

    def rows(self, x: Floats) -> Floats:
        """The row after each change."""
        return _changed(x, self.feature[:, np.newaxis], self.value[:, np.newaxis])


def margin(probabilities: Floats, label: int) -> Floats:
    """By how much a class is ahead of all others; negative where another one is ahead."""
    others = np.delete(probabilities, label, axis=1)
    margins: Floats = probabilities[:, label] - others.max(axis=1, initial=0.0)
    return margins


def combined(
    x: Floats, background: Background, moves: Moves, gain: Floats, needed: float, price: Floats, limit: Floats
) -> Floats:
    """Rows with two or three of the changes, those that are foretold to flip, the nearest first.

    What several changes do together is foretold as the sum of what each does alone, which is only a guess;
    so rows that should just not flip are tried as well as those that should with something to spare.

    `gain` says how far each change alone takes the model towards another class, `needed` how far it has to be
    taken, `price` what each change costs beside its distance, and `limit`, per feature, from which cost
    on a row that changes it is of no use.
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
        useful = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)  # no feature is changed twice
        total = costs[picked].sum(axis=1)
        # Also what costs more than a single change already known to flip, for any of its features, goes.
        lacking = needed - gains[picked].sum(axis=1)
        useful &= total < limit[features].min(axis=1)
        by_cost = np.argsort(total, kind="stable")
        by_cost = by_cost[useful[by_cost]]
        # A set of features as one number, so that the cheapest change of each set can be told.
        _, sets = np.unique(ordered[by_cost] @ len(x) ** np.arange(size), return_inverse=True)
        chosen = np.zeros(len(picked), dtype=np.bool_)
        for slack in SLACK:
            enough = np.flatnonzero(lacking[by_cost] <= slack * needed)
            cheapest = np.full(len(by_cost), len(by_cost))  # of each set of features
            cheapest[sets[enough[::-1]]] = enough[::-1]  # of equal places the last one written stays
            chosen[by_cost[np.sort(cheapest[cheapest < len(by_cost)])[: PER_SLACK[size]]]] = True
        picked = picked[chosen]
        rows.append(_changed(x, features[chosen], moves.value[among][picked]))
    return np.concatenate(rows)


def _worth(feature: Ints, gain: Floats, cost: Floats) -> Ints:
    """Changes that take the model further than any cheaper change of the same feature does."""
    # Sorted by feature and cost, those are the ones above the running maximum of their feature.
    order = np.lexsort((-gain, cost, feature))
    order = order[gain[order] > 0]
    level = gain[order] + 4.0 * feature[order]  # gains are at most 2, so that features stay apart
    best = np.maximum.accumulate(np.append(-np.inf, level))[:-1]
    worth: Ints = order[level > best]
    return worth


@cache
def _combinations(n: int, size: int) -> Ints:
    return np.array(list(combinations(range(n), size)), dtype=np.int64).reshape(-1, size)


def parts(x: Floats, freedom: Freedom, moves: Moves, gain: Floats, near: Floats) -> Floats:
    """Near rows of another class, and the first two, three, ... of their changes alone, weightiest first."""
    Z = np.where(freedom.allows(x, near), near, x)
    changed = differs(x, Z)
    effect = np.zeros(Z.shape)
    for j in np.unique(moves.feature[gain > 0]):
        # A change is taken to do what the nearest change of the same feature that was tried does.
        tried = np.flatnonzero(moves.feature == j)
        nearest = np.abs(moves.value[tried] - Z[:, j, np.newaxis]).argmin(axis=1)
        effect[:, j] = gain[tried[nearest]]
    rows = [Z[changed.any(axis=1)]]
    # What has not changed stands last; of equal effects, the first feature on any CPU.
    orders = np.argsort(np.where(changed, -effect, np.inf), kind="stable")
    for z, order, n in zip(Z, orders, changed.sum(axis=1), strict=True):
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
