"""Casts that say which values they failed for, where Arrow's fail as a whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proto_model.table.columns import MISSING_MARKERS

__all__ = ["text_to_numbers", "to_text"]


def text_to_numbers(text: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Texts as numbers, null where missing or not one, and a mask of the latter."""
    trimmed = pc.utf8_trim_whitespace(text)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING_MARKERS))
    return _convert(pc.if_else(missing, pa.scalar(None, pa.string()), trimmed), pa.float64())


def to_text(raw: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Bytes as text, null where they are none, and a mask of those."""
    return (
        _convert(raw, pa.string()) if pa.types.is_binary(raw.type) else (raw, np.zeros(len(raw), dtype=bool))
    )


def _convert(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Cast value by value where the cast of all fails, by halves."""
    try:
        return values.cast(kind), np.zeros(len(values), dtype=bool)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, kind), np.ones(1, dtype=bool)
    half = len(values) // 2
    left, left_bad = _convert(values[:half], kind)
    right, right_bad = _convert(values[half:], kind)
    return pa.concat_arrays([left, right]), np.concatenate([left_bad, right_bad])
