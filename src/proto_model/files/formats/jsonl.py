"""JSON Lines: blocks of lines, parsed with the schema's types; what does not fit is found line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json
from numpy.typing import NDArray

from proto_model.batches.arrays import from_texts
from proto_model.batches.rows import ColumnPlan, Fault, Rows, Watch, coded_matrix
from proto_model.files.formats.base import Format, Writer
from proto_model.files.formats.blocks import (
    LineCount,
    TextBlock,
    block_bytes,
    count_lines,
    cut_blocks,
    last_line_end,
    line_ends,
    most_rows,
    split_blocks,
)
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.values import RuleBook, fault_text

#: Marks a text column whose values are JSON.
JSON_TEXT = {b"content": b"json"}

_OPEN, _CLOSE = b"{}"
_PART_ROWS = 4096
_MOST_DIGITS = 25  # of a whole number that may fit in 64 bits

_TYPES = {"double": pa.float64(), "long": pa.float64(), "boolean": pa.bool_()}


class JsonLinesReader:
    """Rows of a JSON Lines file: one object a line, a key per column."""

    place = "line"
    first_line = 1

    def __init__(
        self,
        source: io.RawIOBase,
        schema: ModelSchema,
        options: Parameters,
        settings: FileSettings,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._book, self._watch = RuleBook(schema), Watch(check, options.on_bad_row == "mark")
        count = LineCount(count_lines)
        n_bytes = block_bytes(options.explain)
        blocks = cut_blocks(source, last_line_end, settings, n_bytes, count.line_at)
        max_rows = most_rows(len(schema.features), self._watch.marking)
        self._source = split_blocks(blocks, line_ends, count, max_rows)
        names = schema.feature_names
        self._max_columns = settings.max_columns
        self._extra: dict[str, None] = {}  # a set in order; threads add to it
        self._plan = ColumnPlan(
            dict(zip(names, names, strict=True)), {name: name for name in options.passthrough}, ()
        )
        self.passthrough_fields = [
            pa.field(name, pa.string(), metadata=JSON_TEXT) for name in options.passthrough
        ]
        self._parse_options = pa.json.ParseOptions(
            explicit_schema=pa.schema(
                [(feature.name, _TYPES.get(feature.type, pa.string())) for feature in schema.features]
            ),
            unexpected_field_behavior="ignore",
        )

    @property
    def plan(self) -> ColumnPlan:
        """What is read. There is no header, so what is left out is known of the blocks that were parsed."""
        return replace(self._plan, extra=tuple(self._extra))

    def blocks(self) -> Iterator[TextBlock]:
        """Whole lines, in order."""
        return self._source

    def parse(self, text: TextBlock) -> Rows:
        """Rows of a block; called by several threads at once."""
        block, n_lines = text.data, text.n_lines
        lines = [line for line in block.split(b"\n") if line.strip()]
        if not lines:
            empty = np.empty((0, len(self._book.rules)))
            return Rows(empty, [pa.nulls(0, pa.string())] * len(self._plan.passthrough), n_lines=n_lines)
        self._look_for_extra(lines[0])
        matrix, faults = self._at_once(block, lines) or self._by_line(lines)
        passthrough = self._copied(lines, {fault.row for fault in faults if not fault.column}, faults)
        faults = self._watch.shown(faults)
        return Rows(
            matrix, passthrough, faults, _line_numbers(block) if faults else None, n_lines, is_json=True
        )

    def _look_for_extra(self, line: bytearray) -> None:
        """Note the columns of one line that are left out: most files have the same in every line."""
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:  # unusual, or wrong: the line is read again with the others
            return
        if isinstance(record, dict) and len(self._extra) < self._max_columns:
            known = self._plan.features.keys() | self._plan.passthrough.keys()
            self._extra |= dict.fromkeys(name for name in record if name not in known)

    def _at_once(
        self, block: bytearray, lines: list[bytearray]
    ) -> tuple[NDArray[np.float64], list[Fault]] | None:
        """Coded matrix and faults of lines whose values all have their feature's type, else None."""
        # Arrow's reader ends the process at `null`, and takes two objects on a line, and one on two lines.
        if not all((line[0] == _OPEN and line[-1] == _CLOSE) or _is_object(line) for line in lines):
            return None
        try:
            _ = (
                block.isascii() or block.decode()
            )  # which Arrow's reader does not look at in values that it passes over
            table = pa.json.read_json(
                pa.py_buffer(block),
                pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                self._parse_options,
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        if table.num_rows != len(lines):
            return None
        columns = {name: table[name].combine_chunks() for name in self._plan.features}
        return coded_matrix(columns, self._book, len(lines), self._watch)

    def _by_line(self, lines: list[bytearray]) -> tuple[NDArray[np.float64], list[Fault]]:
        matrix = np.full((len(lines), len(self._book.rules)), np.nan)
        faults: list[Fault] = []
        for row, line in self._watch.each(enumerate(lines)):
            if faults and not self._watch.marking:
                break
            try:
                record = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_object)
                if not isinstance(record, dict):
                    raise ValueError(f"an object expected, {type(record).__name__} given")
            except (ValueError, RecursionError) as error:
                faults.append(Fault(row, "", f"not a JSON object ({error})"))
                continue
            for position, rule in enumerate(self._book.rules):
                value = record.get(rule.feature.name)
                matrix[row, position], fault = rule.read(value)
                if fault:
                    reason = fault_text(value, rule.feature, fault)
                    faults.append(Fault(row, rule.feature.name, reason))
        return matrix, faults

    def _copied(self, lines: list[bytearray], broken: set[int], faults: list[Fault]) -> list[pa.Array]:
        """Values of the columns to copy, each as JSON text."""
        names = list(self._plan.passthrough)
        if not names:
            return []
        columns: list[list[str | None]] = [[] for _ in names]
        for row, line in self._watch.each(enumerate(lines)):
            record: dict[str, Any] = {}
            if row not in broken:
                try:
                    record = _loads(line)
                except (ValueError, RecursionError) as error:
                    faults.append(Fault(row, "", f"not a JSON object ({error})"))
                    broken.add(row)
            for name, column in zip(names, columns, strict=True):
                text, fault = None, ""
                if name in record:
                    text, fault = _json_text(record[name])
                elif row not in broken:
                    fault = "no value given, but passthrough names the column"
                column.append(text)
                if fault:
                    faults.append(Fault(row, name, fault))
        return [from_texts(column) for column in columns]


def _is_object(line: bytearray) -> bool:
    line = line.strip(b" \t\r")
    return line.startswith(b"{") and line.endswith(b"}")


def _loads(line: bytearray) -> dict[str, Any]:
    """Object of a line that parsed before; orjson is fast, but takes neither NaN nor very large numbers."""
    try:
        return dict(orjson.loads(line))
    except ValueError:
        return dict(json.loads(line.decode("utf-8-sig"), parse_int=_number))


def _number(digits: str) -> int | float:
    """A whole number as orjson reads it: as float where 64 bits do not hold it."""
    if len(digits) < _MOST_DIGITS and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return float(digits)


def _json_text(value: Any) -> tuple[str | None, str]:
    """A value as JSON, or why it cannot be copied."""
    try:
        return orjson.dumps(value).decode(), ""
    except orjson.JSONEncodeError as error:
        if "ecursion" in str(error):
            return None, "the value is nested too deeply to be copied"
        return None, "the value has half of a surrogate pair, which is no Unicode text"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for name in record if sum(key == name for key, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return record


def _line_numbers(block: bytearray) -> NDArray[np.int64]:
    """Line, within the block, of each row; blank lines are none."""
    return np.flatnonzero([bool(line.strip()) for line in block.split(b"\n")]).astype(np.int64)


def _is_writable(kind: pa.DataType) -> bool:
    """Whether objects have each key once."""
    fields = [kind.field(i) for i in range(kind.num_fields)]
    twice = pa.types.is_struct(kind) and len({field.name for field in fields}) < len(fields)
    return not twice and all(_is_writable(field.type) for field in fields)


class _JsonLinesWriter(Writer):
    """Writes one object per line."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        self._names = columns.names
        self._is_json = [field.metadata == JSON_TEXT for field in columns]

    def encode(self, batch: pa.RecordBatch) -> bytes:
        # Rows take many times as much memory as objects of Python as they do as JSON.
        parts = (batch.slice(start, _PART_ROWS) for start in range(0, batch.num_rows, _PART_ROWS))
        return b"".join(b"".join(self._lines(part)) for part in parts)

    def _lines(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        values: list[list[Any]] = []
        for column, is_json in zip(batch.columns, self._is_json, strict=True):
            listed = column.to_pylist()
            values.append([None if v is None else orjson.Fragment(v) for v in listed] if is_json else listed)
        for row in zip(*values, strict=True):
            record = dict(zip(self._names, row, strict=True))
            yield orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)


JSON_LINES = Format(
    "jsonl",
    "JSON Lines",
    suffixes=("jsonl", "ndjson"),
    media_types=(
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    ),
    reader=JsonLinesReader,
    writer=_JsonLinesWriter,
    writes=_is_writable,
    begins=lambda text: text.startswith(b"{"),
    holds_json=True,
)
