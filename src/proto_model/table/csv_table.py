"""A CSV file as an Arrow table whose columns have the types that their cells spell."""

from __future__ import annotations

import csv
import io
import re
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from proto_model.csv_rows import csv_rows
from proto_model.errors import DataError
from proto_model.table.arrow_values import has_nan, without_markers
from proto_model.values import TRUTH

_DELIMITERS = ",;\t|"
_HEADER_BYTES = 1 << 20


def read_csv(file: BinaryIO, shown: str) -> pa.Table:
    """Table in a CSV file, which `shown` names in errors: UTF-8, with or without byte order mark.

    The header tells the delimiter: comma, semicolon, tab or bar. Spaces around cells do not count, and cells
    that say "missing" (`MISSING_MARKERS`) become null before the rest decides the type, so that `1, 2, ?` are
    numbers. Columns are int64, float64, bool, large_string, or null where no cell holds anything. A DataError
    says that it is not text, or not a table.
    """
    start = _start(file, shown)
    delimiter, names, n_lines = _header(start, shown)
    keys = [str(position) for position in range(len(names))]
    if re.search(rf'[{re.escape(delimiter)}\n] +"', start):
        return _spaced(file, shown, delimiter, names, n_lines)
    try:
        text = pacsv.read_csv(
            file,
            pacsv.ReadOptions(column_names=keys, skip_rows=n_lines, block_size=1 << 24),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.large_string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        reason = " ".join(str(error).splitlines())[:300]
        raise DataError(f"{shown} is not a CSV with {len(names)} columns throughout: {reason}") from error
    return pa.table([_typed(column) for column in text.columns], names=names)


def _start(file: BinaryIO, shown: str) -> str:
    """Text that the file begins with; rewinds it."""
    start = file.read(_HEADER_BYTES)
    file.seek(0)
    if b"\0" in start:
        raise DataError(
            f"{shown} is neither CSV nor Parquet: it holds binary data. Export the table as one of them."
        )
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise DataError(f"{shown} is a web page, not a CSV or Parquet file. Does the address need a login?")
    try:
        return start.decode("utf-8-sig", errors="strict" if len(start) < _HEADER_BYTES else "ignore")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error


def _header(start: str, shown: str) -> tuple[str, list[str], int]:
    """Delimiter, column names, and the number of lines before the first row."""
    text = start.lstrip()
    if not text:
        raise DataError(f"{shown} is empty. Give a CSV with a header, or a Parquet file.")
    n_blank = len(start[: len(start) - len(text)].splitlines())
    unquoted = re.sub(r'"[^"]*"', "", text).splitlines()[0]
    delimiter = max(_DELIMITERS, key=unquoted.count)
    lines = io.StringIO(text, newline=None)
    reader = csv_rows(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        names = next(reader)
    except csv.Error as error:
        raise DataError(f"{shown} has a header that is not CSV: {error}.") from error
    n_lines = n_blank + reader.line_num
    if not lines.read(1):
        raise DataError(f"{shown} has a header but no rows.")
    return delimiter, names, n_lines


def _spaced(file: BinaryIO, shown: str, delimiter: str, names: list[str], n_lines: int) -> pa.Table:
    """Table whose quoted cells have spaces before the quote, which Arrow takes for parts of the cell."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        for _ in range(n_lines):
            text.readline()
        rows = [row for row in csv_rows(text, delimiter=delimiter, skipinitialspace=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{shown} is not a CSV with {len(names)} columns throughout: {error}.") from error
    finally:
        text.detach()  # the file is closed by the one who opened it
    wrong = next((row for row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(
            f"{shown} is not a CSV with {len(names)} columns throughout: {len(wrong)} in "
            f"{delimiter.join(wrong)[:200]!r}."
        )
    columns = zip(*rows, strict=True)
    cells = [pa.chunked_array([pa.array(column, pa.large_string())]) for column in columns]
    return pa.table([_typed(column) for column in cells], names=names)


def _typed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells as the narrowest of null, int64, float64 and bool that all of them spell, else as text."""
    cells = without_markers(text)
    if cells.null_count == len(cells):
        return pa.chunked_array([pa.nulls(len(cells))])
    if not pc.any(pc.match_substring_regex(cells, r"^[+-]?0\d")).as_py():  # 007 is a code, not 7
        numbers = _numbers(cells)
        if numbers is not None:
            return numbers
    truth = pa.array(TRUTH, cells.type)
    if pc.all(pc.is_in(cells.drop_null(), value_set=truth)).as_py():
        return cells.cast(pa.bool_())
    return cells


def _numbers(cells: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Cells as int64 or float64 where all spell numbers; Arrow knows a few spellings that are none."""
    try:
        whole = cells.cast(pa.int64())
        return None if pc.any(pc.match_substring(cells, "x", ignore_case=True)).as_py() else whole  # 0x10
    except pa.ArrowInvalid:
        pass
    try:
        numbers = cells.cast(pa.float64())
        return None if has_nan(numbers) else numbers  # NAN, nan(1)
    except pa.ArrowInvalid:
        return None
