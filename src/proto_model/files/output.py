"""Predictions out: the output's columns, and the batches that fill them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from proto_model.batches.answers import ANSWER_TYPES
from proto_model.batches.arrays import from_texts
from proto_model.batches.rows import Rows
from proto_model.errors import InputError
from proto_model.files.formats import FORMATS, Format
from proto_model.files.formats.jsonl import JSON_TEXT
from proto_model.files.transfer import LimitError
from proto_model.model import AnswerField


def output_schema(
    answer: Sequence[AnswerField], passthrough: Sequence[pa.Field], output: Format
) -> pa.Schema:
    """Columns of the output: those copied, then the fields of the answer.

    Raises InputError if a copied column has the name of one of ours, or a type that the output cannot hold.
    """
    fields = [
        pa.field(
            f.name,
            ANSWER_TYPES[f.type],
            metadata=JSON_TEXT if f.type == "json" and output.holds_json else None,
        )
        for f in answer
    ]
    ours = {field.name for field in fields}
    taken = [field.name for field in passthrough if field.name in ours]
    if taken:
        raise InputError(f"passthrough names {taken}, which the output already has. Rename them in the file.")
    copied = [
        field
        if output.holds_json and field.metadata == JSON_TEXT
        else pa.field(field.name, _plain_type(field.type))
        for field in passthrough
    ]
    for field in copied:
        if not output.writes(field.type):
            others = [name for name, known in FORMATS.items() if known.writes(field.type)]
            raise InputError(
                f"Column {field.name!r} is of type {field.type}, which cannot be written to {output.title}. "
                f"Leave it out of passthrough, or choose another output_format: {', '.join(others)}."
            )
    return pa.schema([*copied, *fields])


def output_batch(rows: Rows, answers: list[pa.Array], columns: pa.Schema, max_bytes: int) -> pa.RecordBatch:
    """Output rows of a block, one for each input row: the columns copied, and those of the answer.

    `max_bytes` is the most text that a copied column may become.
    """
    arrays = [_copied(a, columns.field(i), rows.is_json, max_bytes) for i, a in enumerate(rows.passthrough)]
    return pa.record_batch([*arrays, *answers], schema=columns)


def _copied(array: pa.Array, field: pa.Field, is_json: bool, max_bytes: int) -> pa.Array:
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
    if array.type == pa.string() and is_json and field.metadata != JSON_TEXT:
        return from_texts([_json_as_text(text) for text in array.to_pylist()])
    return array


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _json_as_text(json_text: str | None) -> str | None:
    """Value of a JSON Lines file in another format: a string as it is, anything else as JSON."""
    if json_text is None or json_text == "null":
        return None
    return str(orjson.loads(json_text)) if json_text.startswith('"') else json_text
