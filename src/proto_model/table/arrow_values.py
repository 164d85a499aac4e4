"""The rule book for Arrow columns, without pandas, which pyarrow's own conversions import on first use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proto_model.schema import DATE_TYPES, Feature
from proto_model.values import MISSING_MARKERS, SPACES, Codes, Rule, expected

_PART_BYTES = 8 << 20


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_moment(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's dates or timestamps."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def type_fault(kind: pa.DataType, feature: Feature) -> str:
    """Why a column of a type cannot hold a feature's values, or nothing when it can."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if feature.type in DATE_TYPES and is_moment(kind):
        return ""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    truth = feature.type == "boolean" and pa.types.is_boolean(kind)
    if is_text(kind) or truth or pa.types.is_null(kind) or (number and feature.takes_numbers):
        return ""
    return f"its type is {kind}, {expected(feature)}"


def read_arrow(column: pa.Array, rule: Rule) -> Codes:
    """Codes and faults of a column whose type has no `type_fault`."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not is_text(kind.value_type):
        column = column.cast(kind.value_type)
    elif is_text(kind):
        column = column if pa.types.is_string(kind) else column.cast(pa.string())
        is_number = rule.takes_numbers and rule.feature.type != "boolean"
        numbers = _texts_as_numbers(column) if is_number else None
        if numbers is not None:
            return numbers, rule.number_faults(numbers)
        column = column.dictionary_encode()
    if is_moment(column.type):
        return rule.read_moments(to_seconds(column))
    if not pa.types.is_dictionary(column.type):
        numbers = to_numbers(column)
        return numbers, rule.number_faults(numbers)
    # Each distinct text is read once, and only if a row has it: the rows may be few of a large table.
    column = _used(column)
    read = [rule.read_texts(part.to_pylist()) for part in _parts(column.dictionary)]
    read.append(rule.read_texts([None]))
    codes, faults = (np.concatenate(found) for found in zip(*read, strict=True))
    places = to_numbers(column.indices)
    index = np.where(np.isnan(places), len(codes) - 1, places).astype(np.int64)
    return codes[index], faults[index]


def _used(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values with a dictionary of no more values than there are rows."""
    if len(column.dictionary) <= len(column):
        return column
    used = column.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(used.indices, column.dictionary.take(used.dictionary))


def _parts(texts: pa.Array) -> Iterator[pa.Array]:
    """Texts in parts of some bytes: as objects of Python they take several times as much memory."""
    step = max(1, len(texts) * _PART_BYTES // max(1, texts.nbytes))
    return (texts.slice(start, step) for start in range(0, len(texts), step))


def has_nan(numbers: pa.Array) -> bool:
    """Whether a NaN is among the values that are not null."""
    return bool(pc.any(pc.is_nan(numbers)).as_py())


def _texts_as_numbers(column: pa.Array) -> NDArray[np.float64] | None:
    """Texts as float64, NaN where they say that a value is missing; None if any is no number.

    Arrow reads the same texts as numbers as the rule book does, and to the same bits, but for spellings of
    NaN that are no missing markers.
    """
    cells = without_markers(column)
    try:
        numbers = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if has_nan(numbers) else to_numbers(numbers)


def without_markers(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Text without the spaces around it, null where it only says that a value is missing."""
    trimmed = pc.utf8_trim(text, characters=SPACES)
    markers = pa.array(MISSING_MARKERS, type=trimmed.type)
    return pc.if_else(pc.is_in(trimmed, value_set=markers), pa.scalar(None, trimmed.type), trimmed)


def to_seconds(column: pa.Array) -> NDArray[np.float64]:
    """Dates or timestamps as whole seconds since 1970 (UTC), NaN where null.

    Examples
    --------
    >>> to_seconds(pa.array([-1, None, 2500], pa.timestamp("ms")))
    array([-1., nan,  2.])
    """
    kind = column.type
    ticks = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64(), safe=False)
    counts = pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
    seconds = counts * 86_400 if unit == "D" else counts // per_second[unit]
    return np.where(column.is_null().to_numpy(zero_copy_only=False), np.nan, seconds)


def to_numbers(column: pa.Array) -> NDArray[np.float64]:
    """Numbers or truth values as float64, NaN where null.

    Examples
    --------
    >>> to_numbers(pa.array([1, None, 3]))
    array([ 1., nan,  3.])
    """
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())  # Arrow's direct way does not round to the nearest float
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    if len(column) == 0:
        return np.empty(0)
    values: NDArray[np.float64] = np.frombuffer(column.buffers()[1], dtype=np.float64)
    return values[column.offset : column.offset + len(column)]
