"""Predictions out: the output's columns, and one writer per layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.arrays import from_numbers, from_texts, from_truth
from proto_model.files.formats import FileFormat
from proto_model.files.jsonl_files import JSON_TEXT
from proto_model.files.options import FileOptions
from proto_model.files.rows import Rows
from proto_model.files.spool import Spool
from proto_model.files.transfer import LimitError
from proto_model.model import Answer, AnswerField, answer_fields
from proto_model.parameters import FILE
from proto_model.schema import ModelSchema

__all__ = ["Writer", "open_writer", "output_batch", "output_schema"]

_TYPES = {
    "double": pa.float64(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "json": pa.string(),
}
_ROW_GROUP_ROWS = 1 << 17
_STRUCTURAL = frozenset('",\r\n')


class Writer(Protocol):
    """Writes the output's batches in one layout."""

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Form of a batch that `write` takes; called by several threads at once."""

    def write(self, encoded: Any) -> None:
        """Append a batch; called in order."""

    def close(self) -> None:
        """Write what ends the file."""


def output_schema(
    schema: ModelSchema, options: FileOptions, passthrough: Sequence[pa.Field], layout: str
) -> pa.Schema:
    """Columns of the output: those copied, the predictions, and where asked for explanation and error.

    Raises
    ------
    InputError
        If a copied column has the name of one of ours.
    """
    fields = [
        pa.field(
            field.name,
            _TYPES[field.type],
            metadata=JSON_TEXT if field.type == "json" and layout == "jsonl" else None,
        )
        for field in answer_fields(schema, options, FILE)
    ]
    ours = {field.name for field in fields}
    taken = [field.name for field in passthrough if field.name in ours]
    if taken:
        raise InputError(
            f"passthrough names {taken}, which are columns of the output. Rename them in the file."
        )
    copied = [
        pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type)
        if layout != "jsonl" or f.metadata != JSON_TEXT
        else f
        for f in passthrough
    ]
    return pa.schema([*copied, *fields])


def output_batch(
    rows: Rows,
    answer: Answer,
    bad: NDArray[np.bool_],
    columns: pa.Schema,
    max_bytes: int,
) -> pa.RecordBatch:
    """Output rows of a block, one for each input row; those that are bad have no prediction."""
    mask = bad if bad.any() else None
    arrays = [_copied(a, columns.field(i), rows.is_json, max_bytes) for i, a in enumerate(rows.passthrough)]
    arrays += [_column(field, answer, mask) for field in answer.fields]
    return pa.record_batch(arrays, schema=columns)


def open_writer(file_format: FileFormat, columns: pa.Schema, schema: ModelSchema, spool: Spool) -> Writer:
    """Writer of a layout, compressed where the format says so; its beginning is written at once."""
    sink: Any = pa.PythonFile(spool, mode="w")
    if file_format.codec:
        sink = pa.CompressedOutputStream(sink, file_format.codec)
    if file_format.layout == "csv":
        return _CsvWriter(columns, schema, sink)
    if file_format.layout == "jsonl":
        return _JsonLinesWriter(columns, sink)
    if file_format.layout == "parquet":
        return _ParquetWriter(columns, sink)
    new = pa.ipc.new_file if file_format.layout == "arrow" else pa.ipc.new_stream
    return _ArrowWriter(new(sink, columns), sink)


class _CsvWriter:
    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        # Quotes around every text cost size and nothing is won, where the only text is plain labels.
        texts = sum(pa.types.is_string(field.type) for field in columns)
        plain = not any(_STRUCTURAL & set(label) for label in schema.classes if isinstance(label, str))
        only_labels = texts == (schema.target_type == "string") and not any(map(_is_nested, columns.types))
        self._unquoted = plain and only_labels
        self._options = pa.csv.WriteOptions(
            include_header=False, quoting_style="none" if self._unquoted else "needed"
        )
        self._sink = sink
        names = [
            '"' + name.replace('"', '""') + '"' if _STRUCTURAL & set(name) else name for name in columns.names
        ]
        sink.write((",".join(names) + "\n").encode())

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        buffer = pa.BufferOutputStream()
        if self._unquoted:
            batch = pa.record_batch([_as_text(column) for column in batch.columns], batch.schema.names)
        pa.csv.write_csv(batch, buffer, self._options)
        return buffer.getvalue()

    def write(self, encoded: pa.Buffer) -> None:
        self._sink.write(encoded)

    def close(self) -> None:
        self._sink.close()


class _JsonLinesWriter:
    def __init__(self, columns: pa.Schema, sink: Any) -> None:
        self._names = columns.names
        self._is_json = [field.metadata == JSON_TEXT for field in columns]
        self._sink = sink

    def encode(self, batch: pa.RecordBatch) -> bytes:
        values: list[list[Any]] = []
        for column, is_json in zip(batch.columns, self._is_json, strict=True):
            listed = column.to_pylist()
            values.append([None if v is None else orjson.Fragment(v) for v in listed] if is_json else listed)
        names = self._names
        return b"".join(
            orjson.dumps(dict(zip(names, row, strict=True)), default=str, option=orjson.OPT_APPEND_NEWLINE)
            for row in zip(*values, strict=True)
        )

    def write(self, encoded: bytes) -> None:
        self._sink.write(encoded)

    def close(self) -> None:
        self._sink.close()


class _ParquetWriter:
    def __init__(self, columns: pa.Schema, sink: Any) -> None:
        self._columns, self._sink = columns, sink
        self._writer = pq.ParquetWriter(sink, columns, compression="zstd", write_page_checksum=True)
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = 0

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

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


class _ArrowWriter:
    def __init__(self, writer: Any, sink: Any) -> None:
        self._writer, self._sink = writer, sink

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    def write(self, encoded: pa.RecordBatch) -> None:
        self._writer.write_batch(encoded)

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


def _column(field: AnswerField, answer: Answer, mask: NDArray[np.bool_] | None) -> pa.Array:
    values = field.values(answer)
    if field.labels is not None:
        return _labels(field.label_array).take(from_numbers(values, mask))
    return from_numbers(values, mask) if isinstance(values, np.ndarray) else from_texts(values)


def _labels(labels: NDArray[Any]) -> pa.Array:
    """Labels as an array; `pa.array` would import pandas, which takes longer than a small file."""
    if labels.dtype == object:
        return from_texts(labels.tolist())
    return from_truth(labels) if labels.dtype == bool else from_numbers(labels)


def _copied(array: pa.Array, field: pa.Field, from_json: bool, max_bytes: int) -> pa.Array:
    """Column to copy in the type it has in the output."""
    if pa.types.is_dictionary(array.type):
        if pa.types.is_string(array.type.value_type):
            lengths = pc.binary_length(array.dictionary).take(array.indices)
            if (pc.sum(lengths).as_py() or 0) > max_bytes:
                raise LimitError(
                    f"Column {field.name!r}: more than {max_bytes} bytes of text in {len(array)} rows "
                    "(PROTO_MODEL_FILES_MAX_BATCH_BYTES)."
                )
        return array.cast(field.type)
    if array.type == pa.string() and from_json and field.metadata != JSON_TEXT:
        return from_texts([_json_as_text(text) for text in array.to_pylist()])
    return array


def _json_as_text(json_text: str | None) -> str | None:
    """Value of a JSON Lines file in another layout: a string as it is, anything else as JSON."""
    if json_text is None or json_text == "null":
        return None
    return str(orjson.loads(json_text)) if json_text.startswith('"') else json_text


def _as_text(column: pa.Array) -> pa.Array:
    """Numbers as text where few of them are distinct: each is spelt out once, which is what takes long."""
    if not pa.types.is_float64(column.type):
        return column
    distinct = column.dictionary_encode()
    if len(distinct.dictionary) > len(column) // 4:
        return column
    return distinct.dictionary.cast(pa.string()).take(distinct.indices)


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))
