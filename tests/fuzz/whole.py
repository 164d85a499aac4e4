"""Whole files of every format, damaged: the rows that a slow reader finds, or an error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from proto_model.errors import ProtoModelError
from proto_model.files import FileSettings, Task, score
from proto_model.files.formats import find_format
from proto_model.files.stream import Spool
from proto_model.model import Decision
from proto_model.parameters import Parameters
from tests.fuzz.files import ODD_QUOTE
from tests.fuzz.rows import RULES, SCHEMA

PARAMETERS = Parameters(on_bad_row="mark", output_format="jsonl", passthrough=("x", "c"))
SETTINGS = FileSettings(max_row_bytes=1 << 14, max_batch_bytes=1 << 20, max_decompressed_bytes=1 << 22)
ROWS: dict[str, list[Any]] = {
    "x": [1.5, 2.0, 4.0, -3.25, 99.0],
    "n": [1, None, 3, 4, 5],
    "b": [True, False, None, True, False],
    "c": ["a", "b c", None, "a", "a"],
    "d": ["2024-03-01", None, "2024-02-29", "0001-01-01", "9999-12-31"],
    "m": ["2024-03-01T12:00:00Z", "2024-03-01", None, "1969-12-31 23:59:59", "2024-03-01T12:00+02:00"],
    "t": ["late", None, "Refund 7", "7 7", "LATE"],
}


class Model:
    """Its answer tells the row's codes apart."""

    schema = SCHEMA
    decision = Decision()

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        small = np.nan_to_num(matrix, nan=-1.0) % 997  # or sums of seconds are not exact
        yes = (small @ [1.0, 7.0, 31.0, 101.0, 211.0, 307.0, 401.0]) % 1000 / 1000
        return np.column_stack([1 - yes, yes])


def whole_file(data: bytes) -> None:
    """A file as a job scores it, held against a reading of all of it at once."""
    with io.BytesIO() as file:
        spool = Spool(file, 1 << 24)
        try:
            scored = score(_Raw(data), "file", spool, Task(Model(), PARAMETERS, SETTINGS))
        except ProtoModelError:
            return
        rows = [json.loads(line) for line in file.getvalue().splitlines()]
    assert len(rows) == scored.n_rows, "the summary counts other rows than were written"
    assert sum(row["error"] is not None for row in rows) == scored.n_rejected
    expected = _records(data)
    if expected is None:
        return
    assert len(rows) == len(expected), f"{len(rows)} rows instead of {len(expected)}"
    for place, (row, record) in enumerate(zip(rows, expected, strict=True)):
        if record is None:
            assert row["error"], f"row {place} is no row"
            continue
        cells = [rule.read(record.get(rule.feature.name)) for rule in RULES]
        if any(fault for _, fault in cells):
            assert row["error"], f"row {place} is bad, but has a prediction"
        elif row["error"] is None:
            yes = Model().predict_proba(np.array([[code for code, _ in cells]]))[0, 1]
            assert math.isclose(row["probability_yes"], yes), f"row {place} was read otherwise"
        else:
            # What is only copied may be at fault, too.
            assert re.search("surrogate|nested|passthrough", row["error"]), f"row {place}: {row['error']}"


class _Raw(io.BytesIO):
    """As an unbuffered file."""


def _records(data: bytes) -> list[dict[str, Any] | None] | None:
    """Rows of a file, None in place of one that is none; None where it is up to the reader what they are."""
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    elif data.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            data = stream.read()
    name = find_format(data[:4096], "file", "").name
    if name == "csv":
        return _csv(data)
    if name == "jsonl":
        return _json_lines(data)
    if name == "parquet":
        file = pq.ParquetFile(io.BytesIO(data), pre_buffer=False)
        table = file.read([name for name in file.schema_arrow.names if name in ROWS], use_threads=False)
    else:
        table = pa.ipc.open_stream(io.BytesIO(data[8:] if name == "arrow" else data)).read_all()
    return list(table.select([name for name in table.column_names if name in ROWS]).to_pylist())


def _csv(data: bytes) -> list[dict[str, Any] | None] | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    plain = text.replace("\r\n", "\n")
    if "\r" in plain or ODD_QUOTE.search(plain.replace('""', "")):
        return None
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    names = [name.strip() for name in header]
    return [dict(zip(names, row, strict=True)) if len(row) == len(names) else None for row in rows]


def _json_lines(data: bytes) -> list[dict[str, Any] | None]:
    records: list[dict[str, Any] | None] = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        try:
            pairs = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_Once)
        except (ValueError, RecursionError):
            pairs = None
        is_row = isinstance(pairs, _Once) and {"x", "c"} <= pairs.keys()
        records.append(pairs if is_row else None)
    return records


class _Once(dict[str, Any]):
    """An object that has each key once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) < len(pairs):
            raise ValueError("a key appears twice")


def seeds() -> Iterator[bytes]:
    """A small valid file of every format, several ways."""
    table = pa.table(ROWS)
    texts = [["" if v is None else str(v).lower() for v in row] for row in zip(*ROWS.values(), strict=True)]
    lines = "".join(",".join(row) + "\n" for row in [list(ROWS), *texts]).encode()
    yield lines
    objects = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
    yield "".join(json.dumps(row) + "\n" for row in objects).encode()
    yield gzip.compress(lines, mtime=0)
    yield bytes(pa.Codec("zstd").compress(lines, asbytes=True))
    for codec in (None, "zstd", "lz4"):
        for new in (pa.ipc.new_stream, pa.ipc.new_file):
            sink = io.BytesIO()
            with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
                writer.write_table(table, max_chunksize=2)
            yield sink.getvalue()
    for options in (
        {"compression": "none", "use_dictionary": False},
        {"compression": "snappy", "data_page_version": "2.0"},
        {"compression": "zstd", "row_group_size": 2, "write_page_checksum": True},
        {"compression": "none", "row_group_size": 2, "data_page_size": 1, "write_batch_size": 1},
    ):
        sink = io.BytesIO()
        pq.write_table(table, sink, store_schema=False, write_statistics=False, **options)
        yield sink.getvalue()
