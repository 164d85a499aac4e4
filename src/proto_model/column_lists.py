"""Names of columns in one text, as parameters take them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_EXPECTED = (
    "names of columns between commas expected, with double quotes around a name that holds a comma or a line "
    "break"
)
_LONGEST_NAME = 10_000  # characters; no table has longer ones


def read_column_list(text: str) -> tuple[str, ...]:
    """Names of columns between commas; one that holds a comma stands in double quotes.

    A ValueError says that the text cannot be taken apart.
    """
    try:
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:  # a line break outside of quotes
        raise ValueError(_EXPECTED) from error
    if any(len(name) > _LONGEST_NAME for name in names):
        raise ValueError(_EXPECTED)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def column_list(names: Iterable[str]) -> str:
    """Text that `read_column_list` takes apart again.

    Examples
    --------
    >>> column_list(["age", "name, first"])
    'age,"name, first"'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()
