"""Columns of the rows of a request, as far as their names or their order tell which is which.

Rows without names are lists of a value per feature, in the schema's order. A model takes them if all its
columns take numbers or truth values, or if all take text: a table of one kind of values is a matrix for
whoever sends it and for whatever carries it, as for NumPy, which MLflow makes such rows an array of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError, listed
from proto_model.schema import ModelSchema


def refuse_repeated(names: Iterable[Any], schema: ModelSchema) -> None:
    """Raise an InputError that names the features given more than once."""
    counts = Counter(names)
    twice = [name for name in schema.feature_names if counts[name] > 1]
    if twice:
        raise InputError(f"Columns given more than once: {listed(twice)}. Send each of them once.")


def columns_of(data: Any, schema: ModelSchema) -> tuple[Any, int]:
    """Values of each feature that is there (or one matrix, where all are numbers), and the number of rows."""
    if hasattr(data, "iloc"):
        return _frame_columns(data, schema)
    if isinstance(data, Mapping):
        columns = {name: _values(data[name]) for name in schema.feature_names if name in data}
        if not columns and data:
            columns = {"": _values(next(iter(data.values())))}
        return columns, len(next(iter(columns.values()))) if columns else 0
    if isinstance(data, np.ndarray):
        if data.ndim != 1:
            return _matrix_columns(data, schema)
        data = data.tolist()
    if isinstance(data, Sequence) and not isinstance(data, str):
        if all(isinstance(record, Mapping) for record in data):
            return _record_columns(data, schema), len(data)
        if isinstance(data[0], list):
            return unnamed_columns(data, schema), len(data)
    raise InputError(
        "Rows expected. Send them as dataframe_split, dataframe_records, CSV with a header, Parquet, or "
        'inputs/instances such as [{"column": value, ...}]. '
        f"The model takes the columns {listed(schema.feature_names)}."
    )


def unnamed_columns(rows: Sequence[Any], schema: ModelSchema) -> dict[str, Any]:
    """Values of each feature of at least one row without names.

    Raises
    ------
    InputError
        If the model takes no rows without names, or a row is not a list of a value per feature.
    """
    refuse_unnamed(schema)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(schema.features):
            given = f"has {len(row)} values" if isinstance(row, list) else f"is {kind_of(row)}"
            raise InputError(f"Row {number} {given}, lists expected with {_one_each(schema)}.")
    return dict(zip(schema.feature_names, zip(*rows, strict=True), strict=True))


def needs_names(schema: ModelSchema) -> bool:
    """Whether a model takes no rows without column names, because its columns hold values of both kinds."""
    return len({feature.takes_numbers for feature in schema.features}) > 1


def refuse_unnamed(schema: ModelSchema) -> None:
    """Raise an InputError if a model takes no rows without column names."""
    if needs_names(schema):
        text = next(feature.name for feature in schema.features if not feature.takes_numbers)
        other = next(feature.name for feature in schema.features if feature.takes_numbers)
        raise InputError(
            "Rows without column names given. This model needs them, because it takes text for some columns, "
            f"such as {text!r}, and not for others, such as {other!r}. Send dataframe_split, "
            'dataframe_records, or inputs such as [{"column": value, ...}].'
        )


def _matrix_columns(matrix: NDArray[Any], schema: ModelSchema) -> tuple[Any, int]:
    """Columns of an array of rows without names; one of numbers stays in one piece."""
    refuse_unnamed(schema)
    if matrix.ndim != 2 or matrix.shape[1] != len(schema.features):
        raise InputError(
            f"An array of shape {list(matrix.shape)} given, a list of rows expected with {_one_each(schema)}."
        )
    if matrix.dtype.kind in "fiu" and schema.features[0].takes_numbers:
        return np.array(matrix, dtype=np.float64, order="C"), len(matrix)
    names = schema.feature_names
    return {name: _values(matrix[:, place]) for place, name in enumerate(names)}, len(matrix)


def _one_each(schema: ModelSchema) -> str:
    """What a row without names has to hold."""
    names = schema.feature_names
    return f"{len(names)} values each, those of {listed(names)} in this order"


def _frame_columns(frame: Any, schema: ModelSchema) -> tuple[Any, int]:
    """Columns of a pandas data frame; in one piece where it is small or all numbers, since pandas is slow."""
    names = frame.columns.tolist()
    index = {name: position for position, name in enumerate(names)}
    if len(index) != len(names):
        refuse_repeated(names, schema)
    present = [name for name in schema.feature_names if name in index]
    n_rows = len(frame)
    if n_rows * len(names) > 50_000:
        return {name: _plain(frame.iloc[:, index[name]]) for name in present}, n_rows
    values = frame.to_numpy()
    is_matrix = values.dtype == np.float64 and all(f.takes_numbers for f in schema.features)
    if is_matrix and len(present) == len(schema.features):
        return np.ascontiguousarray(values[:, [index[name] for name in present]]), n_rows
    if values.dtype == object:
        values = frame.to_numpy(dtype=object, na_value=None)
    return {name: values[:, index[name]] for name in present}, n_rows


def _plain(series: Any) -> NDArray[Any]:
    """NumPy array of a pandas column, None for what pandas calls NA."""
    array: NDArray[Any] = series.to_numpy()
    if array.dtype == object or not isinstance(series.dtype, np.dtype):
        array = series.to_numpy(dtype=object, na_value=None)
    return array


def _record_columns(records: Sequence[Mapping[str, Any]], schema: ModelSchema) -> dict[str, list[Any]]:
    """Columns of a list of records; a feature that no record has is left out."""
    return {
        name: [_scalar(record.get(name)) for record in records]
        for name in schema.feature_names
        if any(name in record for record in records)
    }


def _values(values: Any) -> NDArray[Any] | Sequence[Any]:
    """Values of one column, which keep their types; one value alone is a column of one."""
    if isinstance(values, np.ndarray):
        if values.ndim == 1 and values.dtype != object:
            return values
        values = values.tolist() if values.ndim else [values[()]]
    if isinstance(values, (list, tuple)):
        wrapped = np.ndarray in set(map(type, values))
        return [_scalar(value) for value in values] if wrapped else values
    return [values]


def _scalar(value: Any) -> Any:
    """MLflow wraps single values into arrays without a dimension."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def kind_of(value: Any) -> str:
    """JSON's name for the type of a value.

    Examples
    --------
    >>> kind_of({}), kind_of(None)
    ('an object', 'null')
    """
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
