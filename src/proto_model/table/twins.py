"""Rows that a model cannot tell apart: equal in all features, whatever their class and other columns say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table.hashing import cell_terms, mixed, number_hashes, row_sums, text_hash


def feature_hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Hash of each row of a canonical frame; equal for rows that no forest can tell apart."""
    return mixed(row_sums(_terms(frame), len(frame)))


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
