"""Rows of CSV, whose cells may be as long as texts are."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _csv import Reader

# Python's own limit of 131,072 characters is less than a long text has; whoever takes bytes limits these.
_LONGEST_CELL = 2**31 - 1


def csv_rows(lines: Iterable[str], **dialect: Any) -> Reader:
    """Rows of lines, as `csv.reader` gives them, which raises csv.Error."""
    csv.field_size_limit(_LONGEST_CELL)
    return csv.reader(lines, **dialect)
