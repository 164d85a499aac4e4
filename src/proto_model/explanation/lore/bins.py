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

MAX_COARSE = 16


@dataclass(frozen=True, eq=False)
class Bins:
    """The numbering of the bins.

    Parameters
    ----------
    first, last : ndarray of shape (n_features,)
        First and last bin of each feature; the last one holds missing values.
    feature : ndarray of shape (n_bins,)
        Feature of each bin.
    coarse : ndarray of shape (n_bins,)
        A coarser numbering: neighbouring bins together, at most `MAX_COARSE` and one for missing per feature.
    coarse_feature, coarse_last : ndarray of shape (n_coarse,)
        Feature of each coarse bin, and the last of its bins.
    """

    background: Background
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    feature: NDArray[np.int64]
    coarse: NDArray[np.int32]
    coarse_feature: NDArray[np.int64]
    coarse_last: NDArray[np.int64]

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
        first, feature = ends - counts, np.repeat(np.arange(len(counts)), counts)
        known = (counts - 1)[feature]  # without the bin for missing values
        local = np.arange(ends[-1]) - first[feature]
        group = np.where(known > MAX_COARSE, local * MAX_COARSE // np.maximum(known, 1), local)
        begins = np.append(True, (group[1:] != group[:-1]) | (feature[1:] != feature[:-1]))
        last = np.flatnonzero(np.append(begins[1:], True))
        return cls(
            background=background,
            first=first,
            last=ends - 1,
            feature=feature,
            coarse=(np.cumsum(begins) - 1).astype(np.int32),
            coarse_feature=feature[last],
            coarse_last=last,
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
