"""Which way the model goes, on average, when one feature alone has another value.

Rows of the pool have independent features, so the mean answer per bin is the partial dependence of the model
on the feature. A counterfactual should not ask for a change that, by itself, takes the model away from the
class that is wanted: such a change works at one spot only, against all that the model has learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from proto_model.explanation.interface import Bools, Floats, Ints
from proto_model.explanation.lore.neighborhood import Pool

N_PASSES = 3


@dataclass(frozen=True, eq=False)
class Effects:
    """Mean probability of a class per bin, compared with that of all rows; made when first asked for."""

    pool: Pool
    _means: dict[int, Floats] = field(default_factory=dict)

    def means(self, label: int) -> Floats:
        """Effect of each bin on a class. Two threads may both make it; they make the same."""
        if label not in self._means:
            self._means[label] = self._made(self.pool.probabilities[:, label])
        return self._means[label]

    def _made(self, p: Floats) -> Floats:
        """All features are fitted together, so that what the others do is no noise in the effect of one."""
        bins = self.pool.bins
        means = np.zeros(bins.n_bins)
        rest = p - p.mean()
        columns = np.ascontiguousarray((self.pool.codes - bins.first).T)
        for _ in range(N_PASSES):
            for j, column in enumerate(columns):
                mine = slice(int(bins.first[j]), int(bins.last[j]) + 1)
                rest += means[mine][column]
                n_bins = mine.stop - mine.start
                # A bin of few rows stays near the middle.
                means[mine] = np.bincount(column, rest, n_bins) / (np.bincount(column, minlength=n_bins) + 1)
                rest -= means[mine][column]
        return means

    def falls(self, own: Ints, label: int) -> Bools:
        """Per bin, whether a row with bins `own` leaves a class behind when that feature alone goes there."""
        means = self.means(label)
        falls: Bools = means < means[own][self.pool.bins.feature]
        return falls
