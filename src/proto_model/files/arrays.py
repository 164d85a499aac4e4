"""NumPy and Arrow over the same memory, without pandas: pyarrow's own conversions import it on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["from_numbers", "from_texts", "from_truth", "to_numbers"]


def to_numbers(column: pa.Array) -> NDArray[np.float64]:
    """Numbers or truth values as float64, NaN where null.

    Examples
    --------
    >>> to_numbers(pa.array([1, None, 3]))
    array([ 1., nan,  3.])
    """
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    if len(column) == 0:
        return np.empty(0)
    values: NDArray[np.float64] = np.frombuffer(column.buffers()[1], dtype=np.float64)
    return values[column.offset : column.offset + len(column)]


def from_numbers(values: NDArray[Any], null: NDArray[np.bool_] | None = None) -> pa.Array:
    """float64 or int64 numbers as an Arrow array, null where the mask says so."""
    kind = pa.float64() if values.dtype == np.float64 else pa.int64()
    return pa.Array.from_buffers(
        kind, len(values), [_validity(null), pa.py_buffer(np.ascontiguousarray(values))]
    )


def from_truth(values: NDArray[np.bool_]) -> pa.Array:
    """Truth values as an Arrow array."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def from_texts(texts: Sequence[str | None]) -> pa.Array:
    """Texts as an Arrow array, null where None.

    Examples
    --------
    >>> from_texts(["a", None, "bc"]).to_pylist()
    ['a', None, 'bc']
    """
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    null = np.array([text is None for text in texts], dtype=np.bool_)
    buffers = [_validity(null), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _validity(null: NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if null is None else _bits(~null)


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
