"""Coded rows as bins: one small whole number per value, in one numbering for all features.

Numbers fall between the background's cut points, categories are their codes, and a missing value has the last
bin of its feature. Trees, rules and counterfactuals are all found by counting rows per bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background

__all__ = ["Bins"]


@dataclass(frozen=True, eq=False)
class Bins:
    """The numbering of the bins.

    Parameters
    ----------
    first, last : ndarray of shape (n_features,)
        First and last bin of each feature; the last one holds missing values.
    feature : ndarray of shape (n_bins,)
        Feature of each bin.
    """

    background: Background
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    feature: NDArray[np.int64]

    @property
    def n_bins(self) -> int:
        """Number of bins of all features together."""
        return len(self.feature)

    @classmethod
    def of(cls, background: Background) -> Bins:
        """Bins that the background's cut points and categories make."""
        counts = np.where(
            background.numeric, [len(cuts) + 2 for cuts in background.cuts], background.n_codes + 1
        ).astype(np.int64)
        ends = np.cumsum(counts)
        return cls(
            background=background,
            first=ends - counts,
            last=ends - 1,
            feature=np.repeat(np.arange(len(counts)), counts),
        )

    def __call__(self, X: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin of each value of a coded matrix."""
        bins = np.empty(X.shape, dtype=np.int64)
        for j, cuts in enumerate(self.background.cuts):
            column = X[:, j]
            missing = np.isnan(column)
            if self.background.numeric[j]:
                inside = np.searchsorted(cuts, column)
            else:
                inside = np.where(missing, 0.0, column).astype(np.int64)
            bins[:, j] = np.where(missing, self.last[j], self.first[j] + inside)
        return bins
