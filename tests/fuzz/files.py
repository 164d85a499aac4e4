"""Files of rows: CSV, JSON Lines and Arrow, block by block, against Python's `csv` and `json`."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from proto_model.errors import InputError
from proto_model.files import FORMATS, FileSettings
from proto_model.files.formats.blocks import (
    LineCount,
    count_csv_lines,
    csv_record_ends,
    cut_blocks,
    last_csv_end,
)
from proto_model.files.transfer import LimitError
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from tests.fuzz.rows import CONTENT, RULES, SCHEMA, is_told

MARKING = Parameters(on_bad_row="mark")  # or reading ends with the first bad row
SETTINGS = FileSettings(max_row_bytes=4096, max_batch_bytes=1 << 20)
NUMBERS = ModelSchema.from_dict(
    {**CONTENT, "features": [{**CONTENT["features"][0], "name": name} for name in ("x", "y")]}
)
#: A quote that does not open, close or double: what it means is up to the reader.
ODD_QUOTE = re.compile(r'[^,\n"]"|"[^,\n"]')

Row = tuple[list[float] | None, bool]


def read(name: str, data: bytes, schema: ModelSchema = SCHEMA) -> list[tuple[Any, bool]] | None:
    """Codes of each row of a file, and whether it is sound; None if the file is refused."""
    rows: list[tuple[Any, bool]] = []
    try:
        reader = FORMATS[name].reader(io.BytesIO(data), schema, MARKING, SETTINGS)
        for block in reader.blocks():
            part = reader.parse(block)
            bad = {fault.row for fault in part.faults}
            for fault in part.faults:
                is_told(Exception(str(fault)))
            rows += [(codes.tolist(), row not in bad) for row, codes in enumerate(part.matrix)]
    except (InputError, LimitError, pa.ArrowException, OSError, EOFError):  # as `score` does
        return None
    return rows


def differs(given: list[tuple[Any, bool]], expected: list[tuple[Any, bool]]) -> str:
    """The first row that is read otherwise."""
    if len(given) != len(expected):
        return f"{len(given)} rows instead of {len(expected)}"
    for place, ((codes, sound), (others, other_sound)) in enumerate(zip(given, expected, strict=True)):
        if sound != other_sound or (sound and not np.array_equal(codes, others, equal_nan=True)):
            return f"row {place}: {codes if sound else 'refused'}, not {others if other_sound else 'refused'}"
    return ""


def csv_blocks(data: bytes) -> None:
    """CSV: cut into blocks, and read by Arrow or by the kernel for numbers."""
    blocks, lines = [], LineCount(count_csv_lines)
    try:
        for block in cut_blocks(io.BytesIO(data), last_csv_end, SETTINGS, 64, lines.line_at):
            lines.add(block)
            blocks.append(bytes(block))
    except (InputError, LimitError):
        assert b"\0" in data or len(data) > SETTINGS.max_row_bytes
        return
    assert b"".join(blocks) == data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        for schema in (SCHEMA, NUMBERS):
            read("csv", data, schema)
        return
    plain = text.replace("\r\n", "\n")
    if "\r" in plain or ODD_QUOTE.search(plain.replace('""', "")):
        for schema in (SCHEMA, NUMBERS):
            read("csv", data, schema)
        return
    whole = list(csv.reader(io.StringIO(text, newline="")))
    parts = [row for block in blocks for row in csv.reader(io.StringIO(block.decode(), newline=""))]
    assert parts == whole, "a record was cut in two"
    if plain.count('"') % 2 == 0:
        ends = csv_record_ends(data.removeprefix(b"\xef\xbb\xbf"))
        assert len(ends) == len(whole) - (not plain.endswith("\n") and bool(plain))
    for schema in (SCHEMA, NUMBERS):
        _compare_csv(data, [row for row in whole if row], schema)


def _compare_csv(data: bytes, table: list[list[str]], schema: ModelSchema) -> None:
    from proto_model.values import RuleBook

    given = read("csv", data, schema)
    if given is None:
        return
    header = [name.strip() for name in table[0]]
    expected = []
    for cells in table[1:]:
        codes, sound = [], len(cells) == len(header)
        record = dict(zip(header, cells, strict=False))
        for rule in RuleBook.of(schema).rules:
            code, fault = rule.read(record.get(rule.feature.name))
            codes.append(code)
            sound = sound and not fault
        expected.append((codes, sound))
    difference = differs(given, expected)
    assert not difference, difference


def json_lines(data: bytes) -> None:
    """JSON Lines: all at once by Arrow, or line by line."""
    given = read("jsonl", data)
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    if given is None or b"\xef\xbb\xbf" in data.removeprefix(b"\xef\xbb\xbf"):
        return  # a mark at the beginning of a line is up to the reader
    expected: list[tuple[Any, bool]] = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
        except RecursionError:
            return
        except ValueError:
            expected.append(([], False))
            continue
        if not isinstance(record, dict):
            expected.append(([], False))
            continue
        read_cells = [rule.read(record.get(rule.feature.name)) for rule in RULES]
        expected.append(([code for code, _ in read_cells], not any(fault for _, fault in read_cells)))
    difference = differs(given, expected)
    assert not difference, difference


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)


def arrow_messages(data: bytes) -> None:
    """Arrow's stream and file: whatever is read was announced, and numbers are as pyarrow reads them."""
    name = "arrow" if data.startswith(b"ARROW1") else "arrows"
    given = read(name, data)
    if not given:
        return
    # It passed the guard, so that pyarrow may read it without one; a file holds a stream behind its magic.
    try:
        table = pa.ipc.open_stream(io.BytesIO(data[8:] if name == "arrow" else data)).read_all()
        table.validate(full=True)
        records = table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError, OverflowError):
        return
    cells = [[rule.read(record.get(rule.feature.name)) for rule in RULES] for record in records]
    expected = [([code for code, _ in row], not any(fault for _, fault in row)) for row in cells]
    difference = differs(given, expected)
    assert not difference, difference
