"""Parquet: batches of rows while the file still arrives, once its footer is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from proto_model.errors import InputError
from proto_model.files.formats.arrow import batch_rows, plan_typed_columns, rows_of_batch
from proto_model.files.formats.base import Format, Writer
from proto_model.files.rows import Rows
from proto_model.files.transfer import FileSettings, LimitError
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.values import RuleBook

_READ_BYTES = 1 << 17
_ROW_GROUP_ROWS = 1 << 17


class ParquetReader:
    """Rows of a Parquet file."""

    place = "row"
    first_line = 0

    def __init__(
        self, file: IO[bytes], schema: ModelSchema, options: Parameters, settings: FileSettings
    ) -> None:
        self._book, self._explain = RuleBook(schema), options.explain
        metadata = self._open(file).metadata
        _check_footer(metadata, settings)
        file_schema = metadata.schema.to_arrow_schema()
        self.plan = plan_typed_columns(file_schema, schema, options, settings)
        # Text stays dictionary-encoded, or one long value repeated could fill the memory.
        texts = [name for name in self.plan.needed if pa.types.is_string(file_schema.field(name).type)]
        self._parquet = self._open(file, read_dictionary=texts, metadata=metadata)
        read_schema = self._parquet.schema_arrow
        self.passthrough_fields = [
            read_schema.field(column).with_name(name) for name, column in self.plan.passthrough.items()
        ]
        self.n_rows = metadata.num_rows

    @staticmethod
    def _open(file: IO[bytes], **keywords: Any) -> pq.ParquetFile:
        return pq.ParquetFile(
            pa.PythonFile(file, mode="r"),
            pre_buffer=False,
            buffer_size=_READ_BYTES,
            page_checksum_verification=True,
            **keywords,
        )

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Record batches, in order."""
        needed = self.plan.needed
        n_rows = 0
        for batch in self._parquet.iter_batches(
            batch_rows(len(needed), self._explain), columns=needed, use_threads=False
        ):
            n_rows += batch.num_rows
            yield batch.select(needed)
        if n_rows != self.n_rows:
            raise InputError(f"The Parquet file has {n_rows} rows, but its footer says {self.n_rows}.")

    def parse(self, block: pa.RecordBatch) -> Rows:
        """Rows of a batch; called by several threads at once."""
        return rows_of_batch(block, self.plan, self._book)


def _check_footer(metadata: pq.FileMetaData, settings: FileSettings) -> None:
    if metadata.num_columns > settings.max_columns:
        raise LimitError(f"The file has {metadata.num_columns} columns. The limit is {settings.max_columns}.")
    if metadata.num_rows > settings.max_rows:
        raise LimitError(f"The file has {metadata.num_rows} rows. The limit is {settings.max_rows}.")
    sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    if sum(sizes) > settings.max_decompressed_bytes:
        raise LimitError(
            f"The file has {sum(sizes)} bytes after decompression. The limit is "
            f"{settings.max_decompressed_bytes} (PROTO_MODEL_FILES_MAX_DECOMPRESSED_BYTES)."
        )


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
