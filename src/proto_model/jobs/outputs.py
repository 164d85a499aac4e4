"""What a function gave, as a file: JSON, JSON lines, CSV, Parquet or Avro."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.sources import AvroSchema

FORMATS = ("csv", "json", "jsonl", "parquet", "avro")
_VALUE = "value"
_BATCH = 4096


class Spool:
    """Outputs as lines of JSON, on their way to a file of another format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("xb")
        self.n_outputs = 0

    def add(self, value: Any) -> None:
        """Append an output."""
        self._file.write(json.dumps(value).encode() + b"\n")
        self.n_outputs += 1

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        """The outputs, once it is closed."""
        with self.path.open("rb") as file:
            yield from map(json.loads, file)


def check_format(kind: str, schema: AvroSchema | None, where: str) -> None:
    """Raise JobError if a format cannot be written here."""
    if kind not in FORMATS:
        raise JobError(f"{where}: {kind!r} given, CSV, JSON, JSONL, PARQUET or AVRO expected.")
    if kind == "avro" and schema is None:
        raise JobError(
            f"{where}: AVRO needs the source's schema of the output. Write the line "
            "`# modelop.schema.1: output.avsc` and give the file as a FILE, or choose JSON."
        )
    if kind in ("parquet", "avro"):
        library, extra = {"parquet": ("pyarrow", "files"), "avro": ("fastavro", "sources")}[kind]
        try:
            __import__(library)
        except ModuleNotFoundError as error:
            raise JobError(
                f"{where}: {kind.upper()} needs {library}, which is not installed. Install it with: "
                f'pip install "proto-model-turbo[{extra}]"'
            ) from error


def write_outputs(spool: Spool, kind: str, path: Path, schema: AvroSchema | None, *, is_table: bool) -> None:
    """Write outputs in a format; a JobFailedError says which of them it cannot hold.

    `is_table` says that there may be any number of them: a single one of a function of a whole table is the
    content of a file of JSON, not a list of one.
    """
    if kind == "json":
        _write_json(spool, path, is_list=is_table or spool.n_outputs != 1)
    elif kind == "jsonl":
        _write_jsonl(spool, path)
    elif kind == "csv":
        _write_csv(spool, path)
    elif kind == "parquet":
        _write_parquet(spool, path)
    else:
        assert schema is not None
        _write_avro(spool, path, schema)


def _write_jsonl(spool: Spool, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for value in spool:
            file.write(_text(value) + "\n")


def _write_json(spool: Spool, path: Path, *, is_list: bool) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if not is_list:
            file.writelines(map(_text, spool))
            return
        file.write("[")
        for position, value in enumerate(spool):
            file.write((",\n" if position else "\n") + _text(value))
        file.write("\n]\n")


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or _is_encodable(text) else json.dumps(value)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which only an escape can write
        return False
    return True


def _rows(spool: Spool) -> Iterator[dict[str, Any]]:
    return (one if isinstance(one, dict) else {_VALUE: one} for one in spool)


def _columns(spool: Spool) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(_rows(spool))))


def _write_csv(spool: Spool, path: Path) -> None:
    names = _columns(spool)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in _rows(spool):
            writer.writerow([_cell(row.get(name)) for name in names])


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def _write_parquet(spool: Spool, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _columns(spool)
    try:
        schema = pa.schema([(name, pa.null()) for name in names])
        for batch in _batches(_rows(spool)):
            found = [pa.field(name, pa.array([row.get(name) for row in batch]).type) for name in names]
            schema = pa.unify_schemas([schema, pa.schema(found)], promote_options="permissive")
        with pq.ParquetWriter(path, schema) as writer:
            for batch in _batches(_rows(spool)):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise JobFailedError(
            f"PARQUET cannot hold what the function gave: {str(error).partition(chr(10))[0][:200]}. Give "
            "each column one type, or write JSON."
        ) from error


def _write_avro(spool: Spool, path: Path, schema: AvroSchema) -> None:
    import fastavro
    from fastavro.validation import ValidationError

    try:
        with path.open("wb") as file:
            fastavro.writer(file, schema.parsed, iter(spool), codec="deflate", validator=True)
    except (ValidationError, ValueError, TypeError, OverflowError, KeyError) as error:
        raise JobFailedError(
            f"AVRO cannot hold what the function gave, because it is not as {schema.name} says. Give "
            "--schema-check to leave such records out."
        ) from error
