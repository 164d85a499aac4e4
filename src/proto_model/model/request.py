"""Rows of a request as a coded matrix, or one error that names all that is wrong with them.

What arrives has passed through JSON, CSV or Parquet and whatever MLflow made of it: data frames, dictionaries
of arrays or lists, lists of records. Columns come in any order, further ones are ignored, whole numbers stand
for doubles, and a nullable feature may be absent.

MLflow makes NumPy arrays of `inputs` by column and of `instances` before any model sees them, and NumPy gives
all values of a column one type. Where a column of several rows mixes strings with numbers, all have become
strings, and where it mixes numbers with truth values, all numbers. The other formats keep every value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.model.column import Expectation, coded_column
from proto_model.schema import Feature, ModelSchema

__all__ = ["MAX_FAULTS", "coded_rows"]

MAX_FAULTS = 20
MAX_SHOWN_CHARACTERS = 40


def coded_rows(data: Any, schema: ModelSchema) -> NDArray[np.float64]:
    """Coded matrix of the rows of a request.

    Parameters
    ----------
    data : DataFrame, mapping of str to array or list, or sequence of mappings
        The rows; a mapping of scalars is one row.
    schema : ModelSchema
        What the model takes.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        C-contiguous float64, as `proto_model.table.encode` makes it.

    Raises
    ------
    InputError
        If anything is wrong; names every row and column, what was given and what is accepted, at most
        `MAX_FAULTS` times, with a count of the rest.
    """
    columns, n_rows = _columns(data, schema)
    if n_rows == 0:
        return np.empty((0, len(schema.features)))
    if isinstance(columns, np.ndarray):
        return _checked_numbers(columns, schema)
    matrix = np.empty((n_rows, len(schema.features)))
    faults = _Faults(schema)
    for position, feature in enumerate(schema.features):
        values = columns.get(feature.name)
        if values is None:
            matrix[:, position] = np.nan
            if not feature.nullable:
                faults.add_absent(feature)
        elif len(values) != n_rows:
            raise InputError(
                f"Column {feature.name!r} has {len(values)} values, others have {n_rows}. "
                "Send as many values for every column."
            )
        else:
            matrix[:, position], bad = coded_column(values, feature)
            if bad.any():
                faults.add(position, bad, values)
    faults.raise_if_any()
    return matrix


def _columns(data: Any, schema: ModelSchema) -> tuple[dict[str, NDArray[Any]] | NDArray[np.float64], int]:
    """One array per feature that is there (or one matrix, where all are numbers), and the number of rows."""
    if hasattr(data, "iloc"):
        return _frame_columns(data, schema)
    if isinstance(data, Mapping):
        columns = {name: _array(data[name]) for name in schema.feature_names if name in data}
        if not columns and data:
            columns = {str(next(iter(data))): _array(next(iter(data.values())))}
        return columns, len(next(iter(columns.values()))) if columns else 0
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        data = data.tolist()
    if isinstance(data, Sequence) and not isinstance(data, str):
        if all(isinstance(record, Mapping) for record in data):
            return _record_columns(data, schema), len(data)
    elif isinstance(data, np.ndarray) and data.size == 0:
        return {}, 0
    raise InputError(
        "Rows without column names given. Send them as dataframe_split, dataframe_records, CSV with a "
        'header, Parquet, or inputs/instances such as [{"column": value, ...}]. '
        f"The model takes the columns {_listed(schema.feature_names)}."
    )


def _frame_columns(
    frame: Any, schema: ModelSchema
) -> tuple[dict[str, NDArray[Any]] | NDArray[np.float64], int]:
    """Columns of a pandas data frame; in one piece where it is small or all numbers, since pandas is slow."""
    names = frame.columns.tolist()
    index = {name: position for position, name in enumerate(names)}
    if len(index) != len(names):
        wanted = set(schema.feature_names)
        twice = sorted({name for name in names if name in wanted and names.count(name) > 1})
        if twice:
            raise InputError(f"Columns given more than once: {_listed(twice)}. Send each of them once.")
    present = [name for name in schema.feature_names if name in index]
    n_rows = len(frame)
    if n_rows * len(names) > 50_000:
        columns = {name: _plain(frame.iloc[:, index[name]]) for name in present}
        return columns, n_rows
    values = frame.to_numpy()
    if values.dtype == np.float64 and len(present) == len(schema.features) and _all_numbers(schema):
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


def _all_numbers(schema: ModelSchema) -> bool:
    """Whether a matrix of floats can hold every feature as it is."""
    return all(feature.type != "string" for feature in schema.features)


def _record_columns(records: Sequence[Mapping[str, Any]], schema: ModelSchema) -> dict[str, NDArray[Any]]:
    """Columns of a list of records; a feature that no record has is left out."""
    columns = {}
    for name in schema.feature_names:
        values = [record.get(name) for record in records]
        if any(value is not None for value in values) or any(name in record for record in records):
            columns[name] = _objects([_scalar(value) for value in values])
    return columns


def _array(values: Any) -> NDArray[Any]:
    """Array of one column; values that NumPy would convert to a common type keep their own."""
    if isinstance(values, np.ndarray):
        if values.ndim == 1:
            return values if values.dtype != object else _objects([_scalar(v) for v in values.tolist()])
        return _objects([values[()]] if values.ndim == 0 else values.tolist())
    if isinstance(values, list):
        return _objects([_scalar(value) for value in values])
    return _objects([values])


def _objects(values: list[Any]) -> NDArray[np.object_]:
    """Array of the values as they are, lists among them."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _scalar(value: Any) -> Any:
    """MLflow wraps single values into arrays without a dimension."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _checked_numbers(matrix: NDArray[np.float64], schema: ModelSchema) -> NDArray[np.float64]:
    """The matrix itself, after looking at all columns at once."""
    expectation = Expectation.of(schema)
    bad = expectation.unmet(matrix)
    if bad.any():
        faults = _Faults(schema)
        for position in np.flatnonzero(bad.any(axis=0)).tolist():
            faults.add(position, bad[:, position], matrix[:, position])
        faults.raise_if_any()
    return matrix


class _Faults:
    """What is wrong with a request, in the order of its rows."""

    def __init__(self, schema: ModelSchema) -> None:
        self.schema = schema
        self.absent: list[str] = []
        self.found: list[tuple[int, int, Any]] = []
        self.n_faults = 0

    def add_absent(self, feature: Feature) -> None:
        """A column is not there."""
        self.absent.append(f"column {feature.name!r} is missing from every row, {expected(feature)}")
        self.n_faults += 1

    def add(self, position: int, bad: NDArray[np.bool_], values: NDArray[Any]) -> None:
        """Some values of a column are not accepted."""
        rows = np.flatnonzero(bad)
        self.n_faults += len(rows)
        self.found += [(int(row), position, values[row]) for row in rows[:MAX_FAULTS]]

    def raise_if_any(self) -> None:
        """One error for all."""
        if not self.n_faults:
            return
        sentences = list(self.absent)
        for row, position, value in sorted(self.found, key=lambda fault: fault[:2]):
            feature = self.schema.features[position]
            sentences.append(f"row {row}, column {feature.name!r}: {_given(value)}, {expected(feature)}")
        shown = sentences[:MAX_FAULTS]
        rest = self.n_faults - len(shown)
        count = "1 fault" if self.n_faults == 1 else f"{self.n_faults} faults"
        more = f"\nand {rest} more" if rest else ""
        raise InputError(f"{count} in the request (rows count from 0):\n" + "\n".join(shown) + more)


def expected(feature: Feature) -> str:
    """What a feature accepts, in words.

    Examples
    --------
    >>> expected(Feature("age", "long", True, minimum=17.0, maximum=90.0, median=37.0))
    'a whole number or null expected, such as 37'
    """
    if feature.categories is not None:
        what, example = "a string", json.dumps(feature.most_frequent, ensure_ascii=False)
    elif feature.type == "boolean":
        what, example = "true or false", ""
    else:
        what = "a whole number" if feature.type == "long" else "a finite number"
        example = "" if feature.median is None else f"{feature.median:g}"
    null = " or null" if feature.nullable else ""
    return f"{what}{null} expected" + (f", such as {example}" if example else "")


def _given(value: Any) -> str:
    """A value that was not accepted, in words."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return "no value given"
    if isinstance(value, str):
        kind = "the string "
    elif isinstance(value, bool):
        kind = "the boolean "
    else:
        kind = "" if isinstance(value, (int, float)) else f"{type(value).__name__} "
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, (str, bool)) else str(value)
    if len(shown) > MAX_SHOWN_CHARACTERS:
        shown = shown[: MAX_SHOWN_CHARACTERS - 1] + "…"
    return f"{kind}{shown} given"


def _listed(names: Sequence[str], limit: int = MAX_FAULTS) -> str:
    """Names in a sentence, the first few of many."""
    rest = len(names) - limit
    return ", ".join(map(repr, names[:limit])) + (f" and {rest} more" if rest > 0 else "")
