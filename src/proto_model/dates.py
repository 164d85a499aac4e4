"""What counts as a date: ISO 8601 texts and date objects, as whole seconds since the beginning of 1970 (UTC).

A text is `2024-03-01`, or that with a time behind `T` or a space: hours and minutes, then seconds and a
fraction of them if need be, and `Z` or an offset such as `+02:00`. A date alone is its midnight, and a time
without an offset is in UTC. Years have four digits, from 0001 to 9999. Fractions of a second do not count.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import SECONDS_OF

__all__ = ["FIRST", "LAST", "moments_of", "seconds_in", "seconds_in_array", "seconds_of"]

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()

#: The first and the last second that a date may be.
FIRST = (date.min.toordinal() - _EPOCH) * _DAY
LAST = (date.max.toordinal() - _EPOCH + 1) * _DAY - 1

_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?"
    r" ?(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)


def seconds_in(text: str) -> int | None:
    """Seconds of a trimmed text; None if it spells no date.

    Examples
    --------
    >>> seconds_in("1970-01-02"), seconds_in("1970-01-01T02:00:01.9+02:00"), seconds_in("1970-02-30")
    (86400, 1, None)
    """
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, sign, hours, minutes = found.groups(default="0")
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:  # no such day
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59 or int(hours) > 23 or int(minutes) > 59:
        return None
    away = int(hours) * 3600 + int(minutes) * 60
    at = days * _DAY + int(hour) * 3600 + int(minute) * 60 + int(second) - (-away if sign == "-" else away)
    return at if FIRST <= at <= LAST else None


def seconds_of(value: Any) -> int | None:
    """Seconds of a date object of Python, pandas or NumPy that is a date; None for any other value."""
    if isinstance(value, np.datetime64):
        seconds = seconds_in_array(np.array([value]))[0]
        return int(seconds) if FIRST <= seconds <= LAST else None  # false for one that is missing
    if not isinstance(value, date) or value != value:
        return None
    at = (value.toordinal() - _EPOCH) * _DAY
    if isinstance(value, datetime):
        at += value.hour * 3600 + value.minute * 60 + value.second
        at -= (value.utcoffset() or timedelta()) // timedelta(seconds=1)
    return at if FIRST <= at <= LAST else None


def seconds_in_array(values: NDArray[Any]) -> NDArray[np.float64]:
    """Seconds of an array of `datetime64`, NaN where there is none."""
    seconds = values.astype("datetime64[s]")
    return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64))


def moments_of(codes: NDArray[np.float64], kind: str) -> NDArray[np.datetime64]:
    """Coded dates as datetime64[s], NaT where there is none."""
    missing = np.isnan(codes)
    seconds = np.where(missing, 0, codes).astype(np.int64) * SECONDS_OF[kind]
    return np.where(missing, np.datetime64("NaT"), seconds.astype("datetime64[s]"))
