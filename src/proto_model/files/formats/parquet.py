"""Parquet."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from proto_model.files.formats.base import Format, Writer
from proto_model.files.parquet_files import ParquetReader
from proto_model.schema import ModelSchema

_ROW_GROUP_ROWS = 1 << 17


class _ParquetWriter(Writer):
    """Writes row groups of some size, with page checksums."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        self._writer = pq.ParquetWriter(sink, columns, compression="zstd", write_page_checksum=True)
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = 0

    def write(self, encoded: pa.RecordBatch) -> None:
        self._waiting.append(encoded)
        self._n_waiting += encoded.num_rows
        if self._n_waiting >= _ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting, self._columns), self._n_waiting)
        self._waiting, self._n_waiting = [], 0


PARQUET = Format(
    "parquet",
    "Parquet",
    suffixes=("parquet",),
    media_types=("application/vnd.apache.parquet",),
    reader=ParquetReader,
    writer=_ParquetWriter,
    magic=b"PAR1",
    seekable=True,
    compressible=False,
)
