"""Names of columns in one text, as parameters take them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def read_column_list(text: str) -> tuple[str, ...]:
    """Names of columns between commas; one that holds a comma stands in double quotes."""
    names = next(csv.reader([text], skipinitialspace=True), [])
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
