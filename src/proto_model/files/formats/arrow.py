"""Arrow IPC, file and stream."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.ipc

from proto_model.files.arrow_files import ArrowFileReader, ArrowReader
from proto_model.files.formats.base import Format
from proto_model.schema import ModelSchema


class ArrowWriter:
    """Writes an Arrow IPC stream."""

    _open = staticmethod(pa.ipc.new_stream)

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        self._writer, self._sink = self._open(sink, columns), sink

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch."""
        return batch

    def write(self, encoded: pa.RecordBatch) -> None:
        """Append a batch."""
        self._writer.write_batch(encoded)

    def close(self) -> None:
        """Write what ends the stream."""
        self._writer.close()
        self._sink.close()


class ArrowFileWriter(ArrowWriter):
    """Writes an Arrow IPC file: a stream with a footer."""

    _open = staticmethod(pa.ipc.new_file)


ARROW_STREAM = Format(
    "arrows",
    "Arrow IPC stream",
    suffixes=("arrows",),
    media_types=("application/vnd.apache.arrow.stream",),
    reader=ArrowReader,
    writer=ArrowWriter,
    magic=b"\xff\xff\xff\xff",
)
ARROW_FILE = Format(
    "arrow",
    "Arrow IPC file (Feather)",
    suffixes=("arrow", "feather"),
    media_types=("application/vnd.apache.arrow.file",),
    reader=ArrowFileReader,
    writer=ArrowFileWriter,
    magic=b"ARROW1\0\0",
    compressible=False,
)
