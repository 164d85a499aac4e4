"""Records of a file, one by one: JSON, JSON lines, CSV, Parquet or Avro, as a JSON body would hold them."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from proto_model.sources.errors import SourceError

Types = Mapping[str, str]
"""Avro's type of a field by its name."""

MAX_JSON_BYTES = 1024**3
_MAX_CELL_BYTES = 16 * 1024 * 1024

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})", re.ASCII)  # 007 is no number but a name
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class BadRecord:
    """What stands where a record should, and why it is none."""

    reason: str


def read_records(path: Path, kind: str = "", types: Types | None = None) -> Iterator[Any]:
    """Records of a file, or a BadRecord in the place of each that cannot be read.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        json, jsonl, csv, parquet or avro, by default what its name ends in. A file of JSON may be an array,
        an object, or an object per line.
    types : mapping, optional
        Types that cells of CSV have by Avro's names. Without them, a column is of numbers or of truth values
        if all its cells are, and else of text. An empty cell is null.

    Raises
    ------
    SourceError
        If the file cannot be read, or is of another kind.
    """
    kind = (kind or path.suffix.lstrip(".")).lower()
    if kind not in _READERS:
        raise SourceError(
            f"{path.name}: data of the kind {kind or 'without a name'!r} given, "
            f"{', '.join(sorted(_READERS))} expected. Name the file accordingly."
        )
    try:
        yield from _READERS[kind](path, types or {})
    except OSError as error:
        raise SourceError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path.name} is no text in UTF-8. Save it as UTF-8.") from error


def _json(path: Path, types: Types) -> Iterator[Any]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise SourceError(
            f"{path.name} has more than {MAX_JSON_BYTES:,} bytes. Give it as JSON lines (.jsonl)."
        )
    text = path.read_text(encoding="utf-8-sig")
    try:
        whole = json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0]):
            raise SourceError(f"{path.name} is no JSON: {error}. Correct it.") from error
        del text
        yield from _of_lines(lines)
        return
    except RecursionError as error:
        raise SourceError(f"{path.name} is nested too deep.") from error
    yield from whole if isinstance(whole, list) else [whole]


def _jsonl(path: Path, types: Types) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        yield from _of_lines(line for line in file if line.strip())


def _of_lines(lines: Iterable[str]) -> Iterator[Any]:
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield BadRecord("the line is no JSON")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _csv(path: Path, types: Types) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = _rows(file, path)
        names = _header(rows, path)
        readers = [_TYPED.get(types.get(name, ""), _text) for name in names]
        if not set(names) <= set(types):
            found = _inferred(rows, len(names))
            readers = [
                _TYPED.get(types[name], _text) if name in types else guess
                for name, guess in zip(names, found, strict=True)
            ]
            file.seek(0)
            rows = _rows(file, path)
            _header(rows, path)
        for row in rows:
            if len(row) != len(names):
                yield BadRecord(f"the row has {len(row)} cells, {len(names)} columns are named")
                continue
            yield {n: read(cell) if cell else None for n, read, cell in zip(names, readers, row, strict=True)}


def _header(rows: Iterator[list[str]], path: Path) -> list[str]:
    names = next(rows, None)
    if not names:
        raise SourceError(f"{path.name} has no line of column names. Add it.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{path.name} has two columns {twice!r}. Rename one of them.")
    return names


def _rows(file: IO[str], path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(_MAX_CELL_BYTES)
    rows = csv.reader(file, strict=True)
    try:
        yield from (row for row in rows if row)
    except csv.Error as error:
        raise SourceError(f"{path.name}, line {rows.line_num}: {error}. Correct the line.") from error


def _inferred(rows: Iterable[list[str]], width: int) -> list[Callable[[str], Any]]:
    """How the cells of each column are read, by all of them."""
    left = [[_truth, _whole, _number] for _ in range(width)]
    for row in rows:
        for readers, cell in zip(left, row, strict=False):
            if cell and readers:
                readers[:] = [read for read in readers if not isinstance(read(cell), str)]
    return [readers[0] if readers else _text for readers in left]


def _text(cell: str) -> Any:
    return cell


def _whole(cell: str) -> Any:
    return int(cell) if _WHOLE.fullmatch(cell) else cell


def _number(cell: str) -> Any:
    # As in JSON, so that names such as 007 stay names where a column is not known to hold numbers.
    return float(cell) if _NUMBER.fullmatch(cell) and not re.match("[+-]?0[0-9]", cell) else cell


def _truth(cell: str) -> Any:
    return _TRUTH.get(cell.lower(), cell)


def _given_whole(cell: str) -> Any:
    return int(cell) if re.fullmatch("[+-]?[0-9]{1,18}", cell.strip()) else cell


def _given_number(cell: str) -> Any:
    return float(cell) if _NUMBER.fullmatch(cell.strip()) else cell


_TYPED: dict[str, Callable[[str], Any]] = {
    "int": _given_whole, "long": _given_whole, "float": _given_number, "double": _given_number,
    "boolean": _truth,
}  # fmt: skip


def _parquet(path: Path, types: Types) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise SourceError(
            'Parquet needs pyarrow. Install it with: pip install "proto-model-turbo[files]"'
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from map(_plain, batch.to_pylist())
    except pa.ArrowException as error:
        raise SourceError(f"{path.name} is no file of Parquet that can be read: {error}.") from error


def _avro(path: Path, types: Types) -> Iterator[Any]:
    try:
        import fastavro
    except ModuleNotFoundError as error:
        raise SourceError(
            'Avro needs fastavro. Install it with: pip install "proto-model-turbo[sources]"'
        ) from error
    try:
        with path.open("rb") as file:
            yield from map(_plain, fastavro.reader(file))
    except (ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise SourceError(f"{path.name} is no file of Avro that can be read: {error}.") from error


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates are text, and numbers that are none are null."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, bool | int | str) else str(value)


_READERS: dict[str, Callable[[Path, Types], Iterator[Any]]] = {
    "json": _json, "jsonl": _jsonl, "ndjson": _jsonl, "csv": _csv, "parquet": _parquet, "avro": _avro,
}  # fmt: skip
