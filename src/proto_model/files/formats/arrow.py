"""Arrow IPC, file and stream."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.ipc

from proto_model.files.arrow_files import ArrowFileReader, ArrowReader
from proto_model.files.formats.base import Format, Writer
from proto_model.schema import ModelSchema


class _ArrowWriter(Writer):
    """Writes an Arrow IPC stream."""

    _open = staticmethod(pa.ipc.new_stream)

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        self._writer = self._open(sink, columns)

    def write(self, encoded: pa.RecordBatch) -> None:
        self._writer.write_batch(encoded)

    def close(self) -> None:
        self._writer.close()
        super().close()


class _ArrowFileWriter(_ArrowWriter):
    """Writes an Arrow IPC file: a stream with a footer."""

    _open = staticmethod(pa.ipc.new_file)


ARROW_STREAM = Format(
    "arrows",
    "Arrow IPC stream",
    suffixes=("arrows",),
    media_types=("application/vnd.apache.arrow.stream",),
    reader=ArrowReader,
    writer=_ArrowWriter,
    magic=b"\xff\xff\xff\xff",
)
ARROW_FILE = Format(
    "arrow",
    "Arrow IPC file (Feather)",
    suffixes=("arrow", "feather"),
    media_types=("application/vnd.apache.arrow.file",),
    reader=ArrowFileReader,
    writer=_ArrowFileWriter,
    magic=b"ARROW1\0\0",
    compressible=False,
)
