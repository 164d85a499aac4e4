"""Rows that a model cannot tell apart, or hardly: equal in all features, or in all but one.

What a run keeps of its training rows to tell such rows later are hashes that cannot be turned back into
values: of each row's features, and of its features without one of them, for each in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table.hashing import cell_terms, mixed, number_hashes, one_way, row_sums, text_hash

#: More hashes of rows without a feature than about this are not kept, but a share of them.
MAX_HASHES = 200_000


def feature_hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Hash of each row of a canonical frame; equal for rows that no forest can tell apart."""
    return mixed(row_sums(_terms(frame), len(frame)))


@dataclass(frozen=True)
class Fingerprints:
    """What tells later whether a row is among some rows, or a row that differs from one in one feature.

    `whole` has a hash per distinct row; `but_one` has one per distinct row and feature, the feature left out,
    of which only the share 2**-halvings is kept: those whose own value is low. The shares are those of rows
    that equal another of these rows in all features, and of others that equal one in all but one: as many
    are to be expected among new rows.
    """

    whole: NDArray[np.uint64]
    but_one: NDArray[np.uint64]
    halvings: int
    equal_share: float
    but_one_share: float

    @classmethod
    def of(cls, frame: pd.DataFrame, row_hashes: NDArray[np.uint64], most: int = MAX_HASHES) -> Fingerprints:
        """Fingerprints of rows, with about `most` hashes of rows without a feature at most."""
        frame = frame[~pd.Series(row_hashes).duplicated().to_numpy()]
        whole, counts = np.unique(feature_hashes(frame), return_counts=True)
        distinct = frame[~pd.Series(feature_hashes(frame)).duplicated().to_numpy()]
        halvings = int(np.ceil(np.log2(max(distinct.size / most, 1.0))))
        near, kept = np.zeros(len(distinct), dtype=bool), []
        for rows, hashes in _but_one(distinct, halvings):
            near[rows] |= pd.Series(hashes).duplicated(keep=False).to_numpy()
            kept.append(hashes)
        return cls(
            whole=np.unique(one_way(whole)),
            but_one=np.unique(one_way(np.concatenate(kept))),
            halvings=halvings,
            equal_share=float(counts[counts > 1].sum() / len(frame)),
            but_one_share=min(float(near.mean()) * 2**halvings, 1.0),
        )


@dataclass(frozen=True)
class NearDuplicates:
    """How many of `n_rows` rows equal one of other rows in all features, and how many more in all but one.

    The second number is an estimate if not all was kept that tells such rows.
    """

    n_rows: int
    n_equal: int
    n_but_one: int
    is_estimate: bool


def near_duplicates(frame: pd.DataFrame, others: Fingerprints) -> NearDuplicates:
    """Count the rows of a canonical frame that other rows equal in all features, or in all but one."""
    equal = np.isin(one_way(feature_hashes(frame)), others.whole)
    near = np.zeros(len(frame), dtype=bool)
    for rows, hashes in _but_one(frame, others.halvings):
        near[rows] |= np.isin(one_way(hashes), others.but_one)
    n_equal, n_found = int(equal.sum()), int((near & ~equal).sum())
    n_but_one = min(n_found * 2**others.halvings, len(frame) - n_equal)
    return NearDuplicates(len(frame), n_equal, n_but_one, is_estimate=others.halvings > 0)


def _but_one(frame: pd.DataFrame, halvings: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
    """For each feature, rows and their hashes without it, of which those that are low are given."""
    total = row_sums(_terms(frame), len(frame))
    for term in _terms(frame):
        hashes = mixed(total - term)
        rows = np.flatnonzero(hashes <= np.uint64((2**64 >> halvings) - 1))
        yield rows, hashes[rows]


def _terms(frame: pd.DataFrame) -> Iterator[NDArray[np.uint64]]:
    return (cell_terms(_cells(frame[name]), str(name)) for name in frame.columns)


def _cells(column: pd.Series) -> NDArray[np.uint64]:
    """Hash of each cell of a canonical column: of numbers as forests compare them, in 32 bits."""
    missing = text_hash("")
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32).astype(np.float64)
        return np.where(np.isnan(values), missing, number_hashes(values))
    codes, texts = pd.factorize(column)
    return np.array([*(text_hash(str(text)) for text in texts), missing], dtype=np.uint64)[codes]
