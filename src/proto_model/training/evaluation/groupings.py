"""The groups that results are shown for: of categories the largest, of numbers ranges between round ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.explanation.sensitive import is_sensitive
from proto_model.schema import Feature
from proto_model.table import TrainingData

MAX_GROUPS = 10
"""Of a column with more values, the largest groups are shown and the rest as "others"."""

MAX_COLUMNS = 20
"""Columns to group by: protected ones, then those named like sensitive ones, then the most important."""

OTHERS = "(others)"

_N_RANGES = 5
_SMALLEST = 1e-280  # below, powers of ten run out
_SHARE_AROUND = 0.05  # of the rows, on each side of a quantile, between which its round number is looked for


def groupings(data: TrainingData, importances: pd.DataFrame) -> pd.DataFrame:
    """Group of each test row by each column, in the order in which they are to be shown.

    Columns are categorical, their categories ordered; a missing value stays one. `importances` are as
    `permutation_importance` returns them.
    """
    rank = {name: place for place, name in enumerate(importances["feature"])}
    features = sorted(
        (f for f in data.schema.features if f.type in ("boolean", "string", "long", "double")),
        key=lambda f: (
            not data.schema.entry(f.name).protected,
            not is_sensitive(f.name),
            rank.get(f.name, len(rank)),
        ),
    )
    columns = {name: groups_of_column(data.protected_test[name]) for name in data.protected_test.columns}
    for feature in features:
        if len(columns) >= max(MAX_COLUMNS, len(data.protected_test.columns)):
            break
        columns[feature.name] = _of_feature(feature, data.X_test[feature.name], data.X_train[feature.name])
    return pd.DataFrame(columns, index=data.X_test.index)


def groups_of_column(values: pd.Series[Any]) -> pd.Series[Any]:
    """Group of each row by the values of a column that is no feature; a missing value stays one."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        numbers = values.astype(np.float64)
        return _ranges(numbers, numbers)
    spelt = values.map(_spelt)
    return _largest(spelt, spelt)


def _of_feature(feature: Feature, values: pd.Series[Any], learned: pd.Series[Any]) -> pd.Series[Any]:
    if feature.type == "boolean":
        spelt = {0.0: "false", 1.0: "true"}
        return _largest(values.map(spelt), learned.map(spelt))
    return _largest(values, learned) if feature.type == "string" else _ranges(values, learned)


def _spelt(value: object) -> object:
    """Cell of a protected column as a report shows it."""
    return str(value).lower() if isinstance(value, bool) else value


def _largest(values: pd.Series[Any], learned: pd.Series[Any]) -> pd.Series[Any]:
    """The values themselves, or those that most rows of `learned` have."""
    found = values.dropna().unique()
    if len(found) <= MAX_GROUPS:
        return values.astype(pd.CategoricalDtype(sorted(found, key=str)))
    largest = list(learned.value_counts().index[: MAX_GROUPS - 1])
    grouped = values.where(values.isna() | values.isin(largest), OTHERS)
    return grouped.astype(pd.CategoricalDtype([*sorted(largest, key=str), OTHERS]))


def _ranges(values: pd.Series[Any], learned: pd.Series[Any]) -> pd.Series[Any]:
    """A range for each number; the numbers themselves where they are few."""
    known = learned.dropna().to_numpy(dtype=np.float64)
    distinct = np.unique(values.dropna().to_numpy(dtype=np.float64))
    if len(distinct) <= _N_RANGES or not len(known):
        return values.map(number).astype(pd.CategoricalDtype(list(dict.fromkeys(map(number, distinct)))))
    ends = range_ends(known)
    names = range_names(ends, whole=bool((known == np.floor(known)).all()))
    places = np.searchsorted(ends, values.to_numpy(dtype=np.float64), side="right")
    groups = np.array([*names, None], dtype=object)[np.where(values.isna(), -1, places)]
    return pd.Series(groups, index=values.index).astype(pd.CategoricalDtype(names))


def range_ends(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where one range ends and the next begins: round numbers near the quintiles.

    Examples
    --------
    >>> range_ends(np.arange(18.0, 91.0)).tolist()
    [30.0, 50.0, 60.0, 75.0]
    """
    shares = np.arange(1, _N_RANGES) / _N_RANGES
    lows = np.quantile(known, shares - _SHARE_AROUND)
    highs = np.quantile(known, shares + _SHARE_AROUND)
    ends = [float(number(_roundest(low, high))) for low, high in zip(lows, highs, strict=True)]
    return np.unique([end for end in ends if known.min() < end <= known.max()])


def _roundest(low: float, high: float) -> float:
    """The number with the fewest digits between two, both included."""
    largest = max(abs(low), abs(high))
    if low <= 0 <= high or largest < _SMALLEST:
        return 0.0
    middle, exponent = (low + high) / 2, math.floor(math.log10(largest))
    for power in range(exponent, exponent - 12, -1):
        for step in (5, 2, 1):
            shown = round(round(middle / step / 10.0**power) * step * 10.0**power, max(-power, 0))
            if low <= shown <= high:
                return shown
    return low


def range_names(ends: Sequence[float] | NDArray[np.float64], *, whole: bool) -> list[str]:
    """What the ranges between ends are called.

    Examples
    --------
    >>> range_names([30.0, 50.0], whole=True), range_names([0.5, 2.5], whole=False)
    (['under 30', '30 to 49', '50 and more'], ['under 0.5', '0.5 to under 2.5', '2.5 and more'])
    """
    if not len(ends):
        return ["all"]
    whole = whole and all(end == math.floor(end) for end in ends)
    names = [f"under {number(ends[0])}"]
    for begin, end in pairwise(ends):
        if whole:
            names.append(number(begin) if end == begin + 1 else f"{number(begin)} to {number(end - 1)}")
        else:
            names.append(f"{number(begin)} to under {number(end)}")
    return [*names, f"{number(ends[-1])} and more"]


def number(value: float) -> str:
    """A number as a group is called after it; None for a missing one."""
    return f"{value + 0.0:.10g}" if value == value else None  # type: ignore[return-value]  # pandas asks
