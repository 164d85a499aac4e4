"""Rows for the command line: from name=value pairs, JSON and CSV, typed by the schema."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from mapper.errors import InvalidRequestError, SettingsError
from mapper.mapping.schema import ModelSchema

__all__ = ["parse_option", "read_records"]

Record = dict[str, Any]
BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
LISTS = ("immutable_features", "increase_only", "decrease_only")


def read_records(
    path: str | None, pairs: Sequence[str], schema: ModelSchema, chunk_rows: int
) -> Iterator[list[Record]]:
    """Chunks of rows from a file, from standard input (`-`), or one row from pairs.

    Text is turned into what the schema says; text that cannot be is left as it is, for the check to name.

    Raises
    ------
    SettingsError
        If the file cannot be read, or a pair has no `=`.
    InvalidRequestError
        If the content is neither JSON nor CSV, or holds no rows.
    """
    types = {feature.name: feature.type for feature in schema.features}
    if path is None:
        yield [_typed(dict(map(_pair, pairs)), types)]
        return
    try:
        with io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig") if path == "-" else _open(path) as file:
            start = file.read(1)
            while start.isspace():
                start = file.read(1)
            if start in ("{", "["):
                yield from _chunks(_json_records(start + file.read()), chunk_rows)
            elif start:
                yield from _chunks(_csv_records(start, file, types), chunk_rows)
            else:
                raise InvalidRequestError(f"{path} is empty: JSON or CSV expected.")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{path} is not UTF-8 text, at byte {error.start}.") from error


def _open(path: str) -> io.TextIOWrapper:
    try:
        return Path(path).open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error


def _json_records(text: str) -> list[Record]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"Not JSON: {error}.") from error
    if isinstance(content, dict) and "data" in content:
        content = content["data"]
    if isinstance(content, dict) and content.keys() == {"columns", "rows"}:
        content = [dict(zip(content["columns"], row, strict=False)) for row in content["rows"]]
    records = content if isinstance(content, list) else [content]
    if not records:
        raise InvalidRequestError("No rows given, at least one expected.")
    return records


def _csv_records(start: str, file: Iterable[str], types: dict[str, str]) -> Iterator[Record]:
    lines = iter(file)
    head = start + next(lines, "")
    names = next(csv.reader([head], skipinitialspace=True))
    if len(set(names)) < len(names):
        raise InvalidRequestError(f"The header names a column twice: {', '.join(names)}.")
    for number, values in enumerate(csv.reader(lines, skipinitialspace=True)):
        if not values:
            continue
        if len(values) != len(names):
            raise InvalidRequestError(f"Row {number}: {len(values)} values, {len(names)} expected.")
        yield _typed(dict(zip(names, values, strict=True)), types)


def _chunks(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    empty = True
    for record in records:
        empty = False
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
    if empty:
        raise InvalidRequestError("No rows given, at least one expected.")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{text!r} given, name=value expected.")
    return name, value


def _typed(record: dict[str, str], types: dict[str, str]) -> Record:
    return {name: _value(text, types.get(name, "string")) for name, text in record.items()}


def _value(text: str, kind: str) -> Any:
    """Text as a value of a type; an empty one is missing."""
    if not text:
        return None
    if kind == "boolean":
        return BOOLEANS.get(text.lower(), text)
    if kind == "string":
        return text
    try:
        return int(text) if kind == "long" else float(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def parse_option(text: str) -> tuple[str, Any]:
    """Explanation option from its text.

    Examples
    --------
    >>> parse_option("immutable_features=age,sex"), parse_option("seed=7")
    (('immutable_features', ['age', 'sex']), ('seed', 7))
    """
    name, value = _pair(text)
    if name in LISTS:
        return name, [part for part in value.split(",") if part]
    return name, int(value) if value.lstrip("-").isdigit() else value
