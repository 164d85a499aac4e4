"""NumPy arrays as Arrow arrays and back, without pandas, which pyarrow imports for its own conversions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


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


def python_value(scalar: pa.Scalar) -> Any:
    """Value of a scalar; where Python has no such moment, it is NumPy's, and a duration the longest.

    Without pandas, that goes for moments with nanoseconds, too, and for those of an unknown time zone.
    """
    try:
        return scalar.as_py()
    except (OverflowError, ValueError, KeyError):
        kind = scalar.type
        if pa.types.is_timestamp(kind):
            return np.datetime64(scalar.value, kind.unit)
        if pa.types.is_date(kind):
            return np.datetime64(scalar.value, "D" if pa.types.is_date32(kind) else "ms")
        return timedelta.max
