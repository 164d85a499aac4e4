"""CSV."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.csv

from proto_model.files.csv_files import CsvReader
from proto_model.files.formats.base import Format, Writer
from proto_model.schema import ModelSchema

_STRUCTURAL = frozenset('",\r\n')


class _CsvWriter(Writer):
    """Writes a header and records, with quotes only where a text needs them."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        # Arrow quotes every text or none. None is right where the only texts are labels that need no quotes.
        texts = sum(pa.types.is_string(field.type) for field in columns)
        plain = not any(_STRUCTURAL & set(label) for label in schema.classes if isinstance(label, str))
        only_labels = texts == (schema.target_type == "string") and not any(map(_is_nested, columns.types))
        self._unquoted = plain and only_labels
        self._options = pa.csv.WriteOptions(
            include_header=False, quoting_style="none" if self._unquoted else "needed"
        )
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


def _begins(text: bytes) -> bool:
    """Whether the first line has two columns, and is no JSON object."""
    return b"," in text.split(b"\n")[0] and not text.startswith(b"{")


CSV = Format(
    "csv",
    "CSV",
    suffixes=("csv",),
    media_types=("text/csv",),
    reader=CsvReader,
    writer=_CsvWriter,
    begins=_begins,
    any_text=True,  # a file of one column has no commas
)
