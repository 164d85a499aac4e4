"""Rows of CSV and Parquet bodies: cells as they stand there, which the rule book reads."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from proto_model.csv_rows import csv_rows
from proto_model.errors import InputError
from proto_model.model.columns import refuse_repeated
from proto_model.schema import ModelSchema
from proto_model.serving.http.errors import too_many_rows
from proto_model.values import SPACES


def csv_columns(body: bytes, schema: ModelSchema) -> dict[str, tuple[str, ...]]:
    """Texts of the features that a CSV body with a header holds; without a row, no columns.

    Spaces around a name do not count, and cells that end a row too early are empty.
    """
    try:
        rows = [row for row in csv_rows(io.StringIO(body.decode("utf-8-sig"), newline="")) if row]
    except UnicodeDecodeError as error:
        raise InputError(f"The body is not UTF-8: byte {error.start}.") from error
    except csv.Error as error:
        raise InputError(f"The body is not CSV: {error}.") from error
    if not rows:
        raise InputError("The body is empty, CSV with a line of column names expected.")
    header, *rows = rows
    header = [name.strip(SPACES) for name in header]
    refuse_repeated(header, schema)
    for number, row in enumerate(rows):
        if len(row) > len(header):
            raise InputError(f"Row {number} has {len(row)} values below {len(header)} column names.")
        row += [""] * (len(header) - len(row))
    if not rows:
        return {}
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return {name: columns[name] for name in schema.feature_names if name in columns} or columns


def parquet_columns(body: bytes, schema: ModelSchema, max_rows: int) -> dict[str, Any]:
    """Arrays or tuples of the features that a Parquet body holds; without a row, no columns.

    Of one with too many rows, nothing is unpacked.
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
    except (pa.ArrowException, OSError) as error:
        raise InputError("The body is not a Parquet file, or a damaged one.") from error
    if n_rows == 0:
        return {}
    return {name: _cells(table.column(name)) for name in wanted}


def _cells(column: Any) -> Any:
    """Numbers without gaps as an array; all others as a tuple of Python values, None where there is none."""
    import pyarrow as pa

    from proto_model.batches.arrays import python_value

    if column.null_count == 0 and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return np.asarray(column.to_numpy())
    try:
        return tuple(column.to_pylist())
    except (OverflowError, ValueError, KeyError):  # a moment that Python has not
        return tuple(map(python_value, column))
