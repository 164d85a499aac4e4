"""Rows of a Parquet body; pyarrow is imported when the first one comes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.schema import ModelSchema
from proto_model.serving.http.errors import too_many_rows
from proto_model.serving.http.rows import refuse_repeated

__all__ = ["parquet_columns"]


def parquet_columns(body: bytes, schema: ModelSchema, max_rows: int) -> dict[str, NDArray[Any]]:
    """Arrays of the features that a Parquet body holds; without one row, no columns.

    Raises
    ------
    InputError
        If it is not Parquet, or has a feature twice.
    LengthError
        If it has more rows than allowed; nothing is unpacked then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        names = file.schema_arrow.names
        refuse_repeated(names, schema)
        n_rows = file.metadata.num_rows
        if n_rows > max_rows:
            raise too_many_rows(n_rows, max_rows)
        wanted = [name for name in names if name in set(schema.feature_names)] or names[:1]
        table = file.read(columns=wanted, use_threads=False)
        if n_rows == 0:
            return {}
        return {name: _array(table.column(name)) for name in wanted}
    except (pa.ArrowException, OSError) as error:
        raise InputError("The body is not a Parquet file, or a damaged one.") from error


def _array(column: Any) -> NDArray[Any]:
    """Array of a column, None where it is null."""
    import pyarrow as pa

    if column.null_count == 0 and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        array: NDArray[Any] = column.to_numpy()
        return array
    values = column.to_pylist()
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects
