"""Arrow IPC, file and stream: a file holds the stream, so both are read front to back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from proto_model.errors import InputError
from proto_model.files.formats.arrow_messages import MessageStream
from proto_model.files.formats.base import Format, Writer
from proto_model.files.rows import ColumnPlan, Rows, coded_matrix, plan_columns
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import type_fault
from proto_model.values import RuleBook

_MAGIC = b"ARROW1"
_MAGIC_BYTES = 8  # at the start, with padding
_BATCH_BYTES = 2 << 20
_EXPLAINED_BATCH_ROWS = 64


class ArrowReader:
    """Rows of an Arrow IPC stream."""

    place = "row"
    first_line = 0
    _is_file = False

    def __init__(
        self, source: io.RawIOBase, schema: ModelSchema, options: Parameters, settings: FileSettings
    ) -> None:
        if self._is_file:
            source.read(_MAGIC_BYTES)
        self._source = MessageStream(source, settings.max_batch_bytes)
        self._book, self._explain = RuleBook(schema), options.explain
        self._stream = pa.ipc.open_stream(pa.PythonFile(self._source, mode="r"))
        self.plan = plan_typed_columns(self._stream.schema, schema, options, settings)
        self.passthrough_fields = [
            self._stream.schema.field(column).with_name(name)
            for name, column in self.plan.passthrough.items()
        ]

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Record batches, in order; large ones in slices."""
        for batch in self._stream:
            needed = batch.select(self.plan.needed)
            needed.validate(full=True)  # offsets and indices lead anywhere in a file that means harm
            step = batch_rows(needed.num_columns, self._explain)
            for start in range(0, needed.num_rows, step):
                yield needed.slice(start, step)
        ending = self._source.drain()
        if self._is_file and ending != _MAGIC:
            raise InputError("The Arrow file has no end. Was it cut, or its writer not closed?")

    def parse(self, block: pa.RecordBatch) -> Rows:
        """Rows of a batch; called by several threads at once."""
        return rows_of_batch(block, self.plan, self._book)


class ArrowFileReader(ArrowReader):
    """Rows of an Arrow IPC file: a stream between magic bytes."""

    _is_file = True


def plan_typed_columns(
    file_schema: pa.Schema, schema: ModelSchema, options: Parameters, settings: FileSettings
) -> ColumnPlan:
    """Columns of a file that knows their types; raises InputError when one cannot hold its feature."""
    try:
        names = file_schema.names
    except UnicodeDecodeError:
        raise InputError("The name of a column is not UTF-8 text: is the file damaged?") from None
    plan = plan_columns(names, schema, options.passthrough, settings.max_columns)
    features = {feature.name: feature for feature in schema.features}
    for name, column in plan.features.items():
        fault = type_fault(file_schema.field(column).type, features[name])
        if fault:
            raise InputError(f"Column {name!r}: {fault}.")
    return plan


def batch_rows(n_columns: int, explain: bool) -> int:
    """Rows to work on at a time; fewer when each takes long, for all cores to have some."""
    if explain:
        return _EXPLAINED_BATCH_ROWS
    return max(1024, _BATCH_BYTES // (8 * max(1, n_columns)))


def rows_of_batch(batch: pa.RecordBatch, plan: ColumnPlan, book: RuleBook) -> Rows:
    """Coded matrix and columns to copy of a record batch."""
    columns = {name: batch.column(column) for name, column in plan.features.items()}
    matrix, faults = coded_matrix(columns, book, batch.num_rows)
    return Rows(matrix, [batch.column(column) for column in plan.passthrough.values()], faults)


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
