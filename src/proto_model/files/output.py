"""Predictions out: the output's columns, and the batches that fill them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.arrays import from_numbers, from_texts, from_truth
from proto_model.files.formats import Format
from proto_model.files.formats.jsonl import JSON_TEXT
from proto_model.files.options import FileOptions
from proto_model.files.rows import Rows
from proto_model.files.transfer import LimitError
from proto_model.schema import ModelSchema

_LABEL_TYPES = {"double": pa.float64(), "long": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}


def output_schema(
    schema: ModelSchema, options: FileOptions, passthrough: Sequence[pa.Field], output: Format
) -> pa.Schema:
    """Columns of the output: those copied, the predictions, and where asked for explanation and error.

    Raises
    ------
    InputError
        If a copied column has the name of one of ours.
    """
    fields = [
        pa.field("prediction", _LABEL_TYPES[schema.target_type]),
        pa.field("probability", pa.float64()),
        *(pa.field(name, pa.float64()) for name in schema.probability_columns),
    ]
    if options.explain:
        fields.append(pa.field("explanation", pa.string(), metadata=JSON_TEXT if output.holds_json else None))
    if options.on_bad_row == "mark":
        fields.append(pa.field("error", pa.string()))
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
    return pa.schema([*copied, *fields])


class OutputBatches:
    """Makes the output's rows, one for each input row; those that are bad have no prediction.

    Parameters
    ----------
    schema : ModelSchema
        Names the labels.
    columns : pyarrow.Schema
        By `output_schema`.
    max_bytes : int
        Most text that a copied column of a batch may become.
    """

    def __init__(self, schema: ModelSchema, columns: pa.Schema, max_bytes: int) -> None:
        self._labels, self._columns, self._max_bytes = _labels(schema), columns, max_bytes

    def make(
        self,
        rows: Rows,
        probabilities: NDArray[np.float64],
        bad: NDArray[np.bool_],
        explanations: Sequence[bytes | None] | None,
        errors: Sequence[str | None] | None,
    ) -> pa.RecordBatch:
        """Output rows of a block; explanations and errors where the options ask for them."""
        mask = bad if bad.any() else None
        best = probabilities.argmax(axis=1)
        arrays = [self._copied(a, self._columns.field(i), rows) for i, a in enumerate(rows.passthrough)]
        arrays.append(self._labels.take(from_numbers(best, mask)))
        arrays.append(from_numbers(probabilities[np.arange(len(best)), best], mask))
        arrays += [from_numbers(column, mask) for column in probabilities.T]
        if explanations is not None:
            arrays.append(from_texts([None if text is None else text.decode() for text in explanations]))
        if errors is not None:
            arrays.append(from_texts(errors))
        return pa.record_batch(arrays, schema=self._columns)

    def _copied(self, array: pa.Array, field: pa.Field, rows: Rows) -> pa.Array:
        """Column to copy in the type it has in the output."""
        if pa.types.is_dictionary(array.type):
            if pa.types.is_string(array.type.value_type):
                lengths = pc.binary_length(array.dictionary).take(array.indices)
                if (pc.sum(lengths).as_py() or 0) > self._max_bytes:
                    raise LimitError(
                        f"Column {field.name!r}: more than {self._max_bytes} bytes of text in {len(array)} "
                        "rows (PROTO_MODEL_FILES_MAX_BATCH_BYTES)."
                    )
            return array.cast(field.type)
        if array.type == pa.string() and rows.is_json and field.metadata != JSON_TEXT:
            return from_texts([_json_as_text(text) for text in array.to_pylist()])
        return array


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _labels(schema: ModelSchema) -> pa.Array:
    if schema.target_type == "string":
        return from_texts([str(label) for label in schema.classes])
    if schema.target_type == "boolean":
        return from_truth(np.array(schema.classes, dtype=np.bool_))
    return from_numbers(
        np.array(schema.classes, dtype=np.float64 if schema.target_type == "double" else np.int64)
    )


def _json_as_text(json_text: str | None) -> str | None:
    """Value of a JSON Lines file in another format: a string as it is, anything else as JSON."""
    if json_text is None or json_text == "null":
        return None
    return str(orjson.loads(json_text)) if json_text.startswith('"') else json_text
