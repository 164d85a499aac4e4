"""Rows for the command line, from name=value pairs, JSON and CSV.

Pairs and cells stay text: the mapper reads text as it reads any value, by the rule book.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from mapper.errors import InvalidRequestError, SettingsError

Record = dict[str, Any]

_LONGEST_CELL = 2**31 - 1  # Python's own limit of 131,072 characters is less than a long text has


def read_records(path: str | None, pairs: Sequence[str], chunk_rows: int) -> Iterator[list[Record]]:
    """Chunks of rows from a file, from standard input (`-`), or one row from pairs.

    Raises SettingsError if the file cannot be read, InvalidRequestError if it is neither JSON nor CSV.
    """
    if path is None:
        yield [dict(map(pair, pairs))]
        return
    try:
        with io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig") if path == "-" else _open(path) as file:
            start = file.read(1)
            while start.isspace():
                start = file.read(1)
            if start in ("{", "["):
                yield from _chunks(_json_records(start + file.read()), chunk_rows)
            elif start:
                yield from _chunks(_csv_records(start, file), chunk_rows)
            else:
                raise InvalidRequestError(f"{path} is empty; JSON or CSV expected.")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{path} is not UTF-8 text: see byte {error.start}.") from error


def _open(path: str) -> io.TextIOWrapper:
    try:
        return Path(path).open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}.") from error


def _json_records(text: str) -> list[Record]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Not JSON: {error}.") from error
    if isinstance(content, dict) and "data" in content:
        content = content["data"]
    if isinstance(content, dict) and content.keys() == {"columns", "rows"}:
        content = [dict(zip(content["columns"], row, strict=False)) for row in content["rows"]]
    return content if isinstance(content, list) else [content]


def _csv_records(start: str, file: Iterable[str]) -> Iterator[Record]:
    csv.field_size_limit(_LONGEST_CELL)
    lines = iter(file)
    rows = csv.reader(chain([start + next(lines, "")], lines), skipinitialspace=True)
    try:
        names = next(rows)
        if len(set(names)) < len(names):
            raise InvalidRequestError(f"The header names a column twice: {', '.join(names)}.")
        for number, values in enumerate(values for values in rows if values):
            if len(values) != len(names):
                raise InvalidRequestError(f"Row {number}: {len(values)} values, {len(names)} expected.")
            yield dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise InvalidRequestError(f"Not CSV: line {rows.line_num}: {error}.") from error


def _chunks(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    left = iter(records)
    chunk = list(islice(left, size))
    if not chunk:
        raise InvalidRequestError("No rows given, at least one expected.")
    while chunk:
        yield chunk
        chunk = list(islice(left, size))


def pair(text: str) -> tuple[str, str]:
    """Name and value of `name=value`, such that both can be sent."""
    name, equals, value = text.encode(errors="replace").decode().partition("=")
    if not equals:
        raise SettingsError(f"{text!r} given, name=value expected.")
    return name, value
