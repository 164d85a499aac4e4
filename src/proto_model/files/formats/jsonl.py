"""JSON Lines."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from proto_model.files.formats.base import Format, Writer
from proto_model.files.jsonl_files import JSON_TEXT, JsonLinesReader
from proto_model.schema import ModelSchema


class _JsonLinesWriter(Writer):
    """Writes one object per line."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        self._names = columns.names
        self._is_json = [field.metadata == JSON_TEXT for field in columns]

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


JSON_LINES = Format(
    "jsonl",
    "JSON Lines",
    suffixes=("jsonl", "ndjson"),
    media_types=(
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    ),
    reader=JsonLinesReader,
    writer=_JsonLinesWriter,
    begins=lambda text: text.startswith(b"{"),
    holds_json=True,
)
