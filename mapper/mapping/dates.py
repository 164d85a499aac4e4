"""What counts as a date: ISO 8601 texts and date objects, as whole seconds since the beginning of 1970 (UTC).

A text is `2024-03-01`, or that with a time behind `T` or a space: hours and minutes, then seconds and a
fraction of them if need be, and `Z` or an offset such as `+02:00`. A date alone is its midnight, and a time
without an offset is in UTC. Fractions of a second do not count.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

DATE_TYPES = ("date", "datetime")

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_SECONDS = range((1 - _EPOCH) * _DAY, (date.max.toordinal() - _EPOCH + 1) * _DAY)

_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_OFFSET = r"[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?"
_MIDNIGHT = r"00:00(:00([.,][0-9]+)?)?"

#: The form of a date, in a syntax that JavaScript shares; only midnight is a day.
PATTERNS = {
    "date": rf"{_DATE}([Tt ]({_MIDNIGHT} ?[Zz]?|{_TIME} ?{_OFFSET}))?",
    "datetime": rf"{_DATE}([Tt ]{_TIME} ?([Zz]|{_OFFSET})?)?",
}
_FORM = re.compile(PATTERNS["datetime"])
_DIGITS = re.compile(r"[0-9]+")


def seconds_in(value: Any) -> int | None:
    """Seconds of a trimmed text or a date object; None if it is no date."""
    if isinstance(value, datetime):
        away = value.utcoffset() or timedelta()
        seconds = _at(value.date(), value.hour, value.minute, value.second) - away // timedelta(seconds=1)
    elif isinstance(value, date):
        seconds = _at(value, 0, 0, 0)
    elif isinstance(value, str) and _FORM.fullmatch(value):
        found = _of_text(value)
        if found is None:
            return None
        seconds = found
    else:
        return None
    return seconds if seconds in _SECONDS else None


def date_text(seconds: float, kind: str) -> str:
    """A date as text, with the time for the type `datetime`.

    Examples
    --------
    >>> date_text(1709251200, "date"), date_text(1709251200, "datetime")
    ('2024-03-01', '2024-03-01T00:00:00Z')
    """
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))
    return moment.date().isoformat() if kind == "date" else moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def _of_text(text: str) -> int | None:
    clock, sign, away = text[10:], 0, "0"
    for mark in "+-":
        if mark in clock:
            clock, away = clock.split(mark)
            sign = 1 if mark == "+" else -1
    digits = list(map(int, _DIGITS.findall(clock)))[:3]
    hour, minute, second = digits + [0] * (3 - len(digits))
    numbers = away.replace(":", "").ljust(4, "0")
    hours, minutes = int(numbers[:2]), int(numbers[2:])
    try:
        day = date(int(text[:4]), int(text[5:7]), int(text[8:10]))
    except ValueError:  # there is no such day
        return None
    return _at(day, hour, minute, second) - sign * (hours * 3600 + minutes * 60)


def _at(day: date, hour: int, minute: int, second: int) -> int:
    return (day.toordinal() - _EPOCH) * _DAY + hour * 3600 + minute * 60 + second
