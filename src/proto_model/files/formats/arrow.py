"""Arrow IPC, file and stream: a file holds the stream, so both are read front to back."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from proto_model.batches.rows import ColumnPlan, Rows, Watch, coded_matrix, plan_columns
from proto_model.errors import InputError
from proto_model.files.formats.arrow_messages import MessageStream, batches_of_footer
from proto_model.files.formats.base import Format, Writer
from proto_model.files.formats.blocks import BATCH_SHARE, most_rows
from proto_model.files.formats.written import written_bytes
from proto_model.files.transfer import FileSettings, LimitError
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import type_fault
from proto_model.values import RuleBook

_MAGIC = b"ARROW1"
_MAGIC_BYTES = 8  # at the start, with padding
_ENDING_BYTES = 10  # length of the footer and magic
_BATCH_BYTES = 2 << 20
_EXPLAINED_BATCH_ROWS = 64


class ArrowReader:
    """Rows of an Arrow IPC stream."""

    place = "row"
    first_line = 0
    _is_file = False

    def __init__(
        self,
        source: io.RawIOBase,
        schema: ModelSchema,
        options: Parameters,
        settings: FileSettings,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        if self._is_file:
            source.read(_MAGIC_BYTES)
        self._source = MessageStream(source, settings.max_batch_bytes)
        self._book, self._watch = RuleBook(schema), Watch(check, options.on_bad_row == "mark")
        self._max_bytes = settings.max_batch_bytes
        self._stream = pa.ipc.open_stream(pa.PythonFile(self._source, mode="r"))
        self.plan = plan_typed_columns(self._stream.schema, schema, options, settings)
        self.passthrough_fields = [
            self._stream.schema.field(column).with_name(name)
            for name, column in self.plan.passthrough.items()
        ]
        self._batch_rows = batch_rows(len(self.plan.needed), len(schema.features), options)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Record batches, in order; large ones in slices."""
        n_batches = 0
        for batch in self._stream:
            n_batches += 1
            self._watch.check()
            needed = batch.select(self.plan.needed)
            needed.validate(full=True)  # offsets and indices lead anywhere in a file that means harm
            n_parts = max(1, BATCH_SHARE * needed.nbytes // self._max_bytes)
            step = min(self._batch_rows, max(1, needed.num_rows // n_parts))
            for start in range(0, needed.num_rows, step):
                yield needed.slice(start, step)
        if self._is_file:
            self._check_footer(n_batches)
        else:
            self._source.check_end()

    def _check_footer(self, n_batches: int) -> None:
        """Raise InputError where the file is cut, or has more batches than were read."""
        footer = self._source.rest()
        n_bytes = int.from_bytes(footer[-_ENDING_BYTES : -len(_MAGIC)], "little")
        if not footer.endswith(_MAGIC):
            raise InputError("The Arrow file has no end. Was it cut, or its writer not closed?")
        if n_bytes != len(footer) - _ENDING_BYTES or batches_of_footer(footer) != n_batches:
            raise InputError(
                f"The Arrow file has more or less than the {n_batches} batches that its footer should list. "
                "Is it several files one after the other?"
            )

    def parse(self, block: pa.RecordBatch) -> Rows:
        """Rows of a batch; called by several threads at once."""
        return rows_of_batch(block, self.plan, self._book, self._watch, self._max_bytes)


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


def batch_rows(n_columns: int, n_features: int, options: Parameters) -> int:
    """Rows to work on at a time; fewer when each takes long, for all cores to have some."""
    if options.explain:
        return _EXPLAINED_BATCH_ROWS
    most = most_rows(n_features, options.on_bad_row == "mark")
    return min(max(1024, _BATCH_BYTES // (8 * max(1, n_columns))), most)


def rows_of_batch(
    batch: pa.RecordBatch, plan: ColumnPlan, book: RuleBook, watch: Watch, max_bytes: int
) -> Rows:
    """Coded matrix and columns to copy of a record batch, which are written out in at most so many bytes."""
    columns = {name: batch.column(column) for name, column in plan.features.items()}
    copied = {name: batch.column(column) for name, column in plan.passthrough.items()}
    views = {name: column for name, column in columns.items() if pa.types.is_string_view(column.type)}
    n_bytes = {name: written_bytes(column) for name, column in (views | copied).items()}
    if sum(n_bytes.values()) > max_bytes:
        raise LimitError(
            f"Column {max(n_bytes, key=n_bytes.__getitem__)!r}: {batch.num_rows} rows have "
            f"{sum(n_bytes.values())} bytes, in all columns, once each value is written out. The limit is "
            f"{max_bytes} (PROTO_MODEL_FILES_MAX_BATCH_BYTES)."
        )
    matrix, faults = coded_matrix(columns, book, batch.num_rows, watch)
    return Rows(matrix, list(copied.values()), faults)


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
