"""One counterfactual brought nearer, round by round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background
from proto_model.explanation.lore.moves import Values

__all__ = ["Improvement"]

MAX_STEPS = 20
N_TRADES = 16
SPREADS = (1.0, 0.6, 0.4, 0.25)  # of the trades, round by round

Floats = NDArray[np.float64]


class Improvement:
    """Tries to bring one changed row nearer to the row that is explained.

    Each round tries to take back every change, wholly or in part; several of those that worked in the round
    before at once; and trades, which take back a part of one change for a smaller part of another.

    Parameters
    ----------
    flip : ndarray of shape (n_features,)
        The changed row.
    changed : tuple of int
        Its changed features.
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

    def at(self, flip: Floats) -> Improvement:
        """The same, with a nearer flip to go on from."""
        own = self._x
        self._failed = {
            j: value for j, value in self._failed.items() if abs(value - own[j]) < abs(flip[j] - own[j])
        }
        self._flip = flip
        return self

    def rows(self, rng: np.random.Generator) -> Floats:
        """Rows to ask the model about."""
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
        shares *= (np.linspace(1 - spread / 2, 0.99, N_TRADES) * away.sum() / shares.sum(axis=1))[
            :, np.newaxis
        ]
        X = np.repeat(flip[np.newaxis], N_TRADES, axis=0)
        for k, j in enumerate(numbers):
            up = flip[j] > x[j]
            target = x[j] + np.where(up, 1.0, -1.0) * shares[:, k] * background.scale[j]
            X[:, j] = self._values.towards(j, float(x[j]), target, up)
        return X

    def learn(self, flipped: NDArray[np.bool_]) -> None:
        """Remember which single steps kept the class flipped."""
        singles = flipped[self._n_together : self._n_together + len(self._steps)]
        best: dict[int, float] = {}
        for (j, value), good in zip(self._steps, singles, strict=True):
            if good:
                best.setdefault(j, value)  # the full step back comes first
            else:
                self._failed[j] = value
        self._good = list(best.items())
