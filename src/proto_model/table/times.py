"""Times of rows, as numbers to order them by."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.dates import FIRST, LAST
from proto_model.errors import DataError, counted
from proto_model.table.columns import Column

_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(.*)")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4})(.*)")
_SPACED_ZONE = re.compile(r"\s+(?=Z$|[+-]\d{2}:?\d{2}$)")


def moments(column: Column) -> NDArray[np.float64]:
    """Time of each row: numbers as they are, dates in seconds since 1970, as UTC where they name no zone.

    No value is missing. Of dates that begin with the day or the month, the column as a whole decides which:
    a number above 12 is a day, and points between the numbers mean that the day is first. A DataError says
    that the column holds no times, or dates that can be read in two ways.
    """
    if column.type in ("double", "long"):
        return column.values
    if column.type != "date" or column.texts is None:
        raise DataError(
            f"Column {column.name!r} cannot be the time: it has neither dates nor numbers. Write dates as "
            "2024-01-31 or 2024-01-31T12:00:00."
        )
    codes = column.values.astype(np.int64)
    used = np.unique(codes)
    read = pd.to_datetime(
        pd.Series(_iso_texts(column, column.texts[used])), format="ISO8601", utc=True, errors="coerce"
    )
    found = read.dt.as_unit("us").astype("int64").to_numpy() / 1e6
    # pandas reads a year 0, which is no date where dates are features.
    n_wrong = int((read.isna().to_numpy() | (found < FIRST) | (found >= LAST + 1)).sum())
    if n_wrong:
        are = "is no date" if n_wrong == 1 else "are no dates"
        raise DataError(
            f"Column {column.name!r} cannot be the time: {n_wrong} of its "
            f"{counted(len(used), 'distinct value')} {are}. Write dates as 2024-01-31 or 2024-01-31T12:00:00."
        )
    seconds = np.zeros(len(column.texts))
    seconds[used] = found
    return seconds[codes]


def _iso_texts(column: Column, texts: NDArray[np.object_]) -> list[str]:
    """Dates as ISO 8601 writes them; what is no date stays as it is."""
    last = [match for text in texts if (match := _YEAR_LAST.fullmatch(text))]
    order = _order(column.name, last) if last else (0, 0)
    return [_iso(text, *order) for text in texts]


def _order(name: str, dates: list[re.Match[str]]) -> tuple[int, int]:
    """Groups of month and day in dates that end with the year."""
    day_first = any(int(date[1]) > 12 for date in dates) or all(date[2] == "." for date in dates)
    month_first = any(int(date[3]) > 12 for date in dates)
    if day_first == month_first:
        problem = (
            "in some the day comes first, in others the month" if day_first else "day or month may come first"
        )
        raise DataError(
            f"Column {name!r} cannot be the time: its dates can be read in two ways, as {problem}. Write "
            "them as 2024-01-31."
        )
    return (3, 1) if day_first else (1, 3)


def _iso(text: str, month: int, day: int) -> str:
    if date := _YEAR_FIRST.fullmatch(text):
        year, at, on, rest = date[1], date[2], date[3], date[4]
    elif date := _YEAR_LAST.fullmatch(text):
        year, at, on, rest = date[4], date[month], date[day], date[5]
    else:
        return text
    return f"{year}-{int(at):02}-{int(on):02}{_SPACED_ZONE.sub('', rest)}"
