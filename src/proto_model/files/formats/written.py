"""How long values are once each is written out, for columns that hold a value once that many rows share.

A dictionary, a view or a run takes a few bytes for each row that refers to it, however long the value is. So
a batch that is small in memory can be larger than any memory in the output.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.table.arrow_values import to_numbers

_VIEW_BYTES = 16


def written_bytes(column: pa.Array) -> int:
    """Bytes of a column's values, 0 where values share nothing, so that they take what they take already."""
    if not _shares(column.type):
        return 0
    return int(_sizes(column).sum())


def _shares(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _size(kind.value_type) is None
    if types.is_string_view(kind) or types.is_binary_view(kind) or types.is_run_end_encoded(kind):
        return True
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _shares(kind.storage_type)
    return any(_shares(kind.field(i).type) for i in range(kind.num_fields))


def _size(kind: pa.DataType) -> int | None:
    """Bytes of a value of a type, None where they differ."""
    if pa.types.is_null(kind):
        return 0
    try:
        return int(kind.bit_width) // 8 + 1
    except ValueError:
        return None


def _sizes(column: pa.Array) -> NDArray[np.float64]:
    """Bytes of each value; as float64, which no sum makes negative."""
    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _sizes(column.storage)
    if types.is_dictionary(kind):
        return _taken(_sizes(column.dictionary), column.indices)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        views = np.frombuffer(column.buffers()[1] or b"", dtype=np.int32)[:: _VIEW_BYTES // 4]
        lengths: NDArray[np.float64] = views[column.offset :][: len(column)].astype(np.float64)
        return lengths
    if types.is_run_end_encoded(kind):
        ends = to_numbers(column.run_ends)
        places = np.searchsorted(ends, np.arange(column.offset, column.offset + len(column)), side="right")
        return _sizes(column.values)[places]
    if types.is_struct(kind):
        parts = [_sizes(column.field(i)) for i in range(kind.num_fields)]
        return np.sum(parts, axis=0) if parts else np.zeros(len(column))
    if types.is_fixed_size_list(kind):
        values = column.values.slice(column.offset * kind.list_size, len(column) * kind.list_size)
        sums: NDArray[np.float64] = _sizes(values).reshape(len(column), -1).sum(axis=1)
        return sums
    if types.is_union(kind):
        raise InputError(f"A column of type {kind} cannot be copied.")
    if types.is_nested(kind):
        return _list_sizes(column)
    size = _size(kind)
    if size is None:
        return np.nan_to_num(to_numbers(pc.binary_length(column)))
    return np.full(len(column), float(size))


def _list_sizes(column: pa.Array) -> NDArray[np.float64]:
    """Bytes of each list; lists of a view may overlap and be in any order."""
    kind = column.type
    items = column.keys if pa.types.is_map(kind) else column.values
    sizes = _sizes(items)
    if pa.types.is_map(kind):
        sizes = sizes + _sizes(column.items)
    sums = np.append(0.0, np.cumsum(sizes))
    offsets = to_numbers(column.offsets).astype(np.int64)
    if hasattr(column, "sizes"):
        starts, ends = offsets, offsets + to_numbers(column.sizes).astype(np.int64)
    else:
        starts, ends = offsets[:-1], offsets[1:]
    written: NDArray[np.float64] = sums[ends] - sums[starts]
    return written * (to_numbers(column.is_valid()) if column.null_count else 1.0)


def _taken(sizes: NDArray[np.float64], indices: pa.Array) -> NDArray[np.float64]:
    places = to_numbers(indices)
    is_null = np.isnan(places)
    taken: NDArray[np.float64] = np.append(sizes, 0.0)[np.where(is_null, len(sizes), places).astype(np.int64)]
    return taken
