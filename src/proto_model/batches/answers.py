"""The columns of an answer as Arrow arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.batches.arrays import from_numbers, from_texts, from_truth
from proto_model.model import Answer, AnswerField

try:
    import orjson
except ImportError:  # executors of Spark may lack it
    orjson = None  # type: ignore[assignment]

ANSWER_TYPES = {
    "double": pa.float64(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "json": pa.string(),
}


def answer_columns(answer: Answer, bad: NDArray[np.bool_]) -> list[pa.Array]:
    """A column for each field of an answer; rows that are bad have no prediction."""
    mask = bad if bad.any() else None
    return [_column(field, answer, mask) for field in answer.fields]


def json_text(value: Any) -> str | None:
    """A value as compact JSON, None for none."""
    if value is None:
        return None
    if orjson is None:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return orjson.dumps(value).decode()


def _column(field: AnswerField, answer: Answer, mask: NDArray[np.bool_] | None) -> pa.Array:
    values = field.values(answer)
    if field.labels is not None:
        return _labels(field.label_array).take(from_numbers(values, mask))
    if isinstance(values, np.ndarray):
        return from_numbers(values, mask)
    if field.type == "json":
        values = [value if isinstance(value, str) else json_text(value) for value in values]
        if mask is not None:
            values = [None if is_bad else text for text, is_bad in zip(values, mask, strict=True)]
    return from_texts(values)


def _labels(labels: NDArray[Any]) -> pa.Array:
    """Labels as an array; `pa.array` would import pandas, which takes longer than a small file."""
    if labels.dtype == object:
        return from_texts(labels.tolist())
    return from_truth(labels) if labels.dtype == bool else from_numbers(labels)
