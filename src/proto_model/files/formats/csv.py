"""CSV: blocks of records, parsed with the schema's types; what does not fit is found on a second look."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.formats.base import Format, Writer
from proto_model.files.formats.blocks import (
    block_bytes,
    count_lines,
    csv_record_ends,
    cut_blocks,
    last_csv_end,
)
from proto_model.files.formats.plain_numbers import parse_numbers
from proto_model.files.rows import Fault, Rows, coded_matrix, plan_columns
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import has_nan
from proto_model.values import MISSING_MARKERS, RuleBook

_TEXT = pa.dictionary(pa.int32(), pa.string())
_SHOWN_BYTES = 30
_STRUCTURAL = frozenset('",\r\n')


class CsvReader:
    """Rows of a CSV file with a header, comma-separated, in UTF-8."""

    place = "line"

    def __init__(
        self, source: io.RawIOBase, schema: ModelSchema, options: Parameters, settings: FileSettings
    ) -> None:
        self._blocks = cut_blocks(source, last_csv_end, settings, block_bytes(options.explain))
        self._book = RuleBook(schema)
        head = next(self._blocks, bytearray())
        self._names, header_end = _header(head)
        self.first_line = 1 + head.count(b"\n", 0, header_end)
        self._first = head[header_end:]
        self.plan = plan_columns(self._names, schema, options.passthrough, settings.max_columns)
        self.passthrough_fields = [pa.field(name, pa.string()) for name in options.passthrough]
        texts = {feature.name for feature in schema.features if feature.type in ("string", "boolean")}
        types = {
            column: _TEXT if name in texts else pa.float64() for name, column in self.plan.features.items()
        }
        types |= {column: pa.string() for column in self.plan.passthrough.values()}
        self._convert = pa.csv.ConvertOptions(
            column_types=types,
            include_columns=self.plan.needed,
            null_values=list(MISSING_MARKERS),
            strings_can_be_null=False,
        )
        self._as_bytes = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(self.plan.needed, pa.binary()),
            include_columns=self.plan.needed,
            strings_can_be_null=False,
        )
        self._texts = pa.csv.ConvertOptions(
            column_types={column: kind for column, kind in types.items() if kind != pa.float64()},
            include_columns=[column for column in self.plan.needed if types[column] != pa.float64()],
            strings_can_be_null=False,
        )
        self._number_names = self.plan.features.keys() - texts
        self._numbers = [i for i, f in enumerate(schema.features) if f.name in self._number_names]
        self._places = np.full(len(self._names), -1, dtype=np.int32)
        for position in self._numbers:
            column = self.plan.features[schema.features[position].name]
            self._places[self._names.index(column)] = position

    def blocks(self) -> Iterator[bytearray]:
        """Whole records, in order."""
        if self._first:
            yield self._first
            self._first = bytearray()
        yield from self._blocks

    def parse(self, block: bytearray) -> Rows:
        """Rows of a block; called by several threads at once."""
        n_lines = count_lines(block)
        matrix = self._plain_numbers(block, n_lines)
        columns: dict[str, pa.Array] = {}
        passthrough: list[pa.Array] = []
        try:
            if matrix is None or self._texts.include_columns:
                table = self._read(block, self._convert if matrix is None else self._texts)
                passthrough = [_single(table[column]) for column in self.plan.passthrough.values()]
                columns = {
                    name: _single(table[column])
                    for name, column in self.plan.features.items()
                    if matrix is None or name not in self._number_names
                }
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return self._parse_carefully(block, n_lines)
        # Arrow reads NAN and the like as numbers, and markers as null, so NaN was a text that is neither.
        if any(pa.types.is_floating(column.type) and has_nan(column) for column in columns.values()):
            return self._parse_carefully(block, n_lines)
        filled = () if matrix is None else self._numbers
        n_rows = table.num_rows if matrix is None else len(matrix)
        matrix, faults = coded_matrix(columns, self._book, n_rows, matrix, filled)
        lines = _record_lines(block) if faults else None
        return Rows(matrix, passthrough, faults, lines, n_lines)

    def _plain_numbers(self, block: bytearray, n_lines: int) -> NDArray[np.float64] | None:
        """Coded matrix with the columns of numbers filled, None where it takes more than the kernel knows."""
        passed_over = len(self._numbers) < len(self._names)
        if not self._numbers or len(self._names) < 2 or (passed_over and b'"' in block):
            return None
        n_rows = n_lines + (not block.endswith(b"\n"))
        return parse_numbers(block, self._places, n_rows, len(self._book.rules))

    def _read(
        self, block: bytearray, convert: pa.csv.ConvertOptions, ragged: list[pa.csv.InvalidRow] | None = None
    ) -> pa.Table:
        def skip(row: pa.csv.InvalidRow) -> str:
            assert ragged is not None
            ragged.append(row)
            return "skip"

        return pa.csv.read_csv(
            pa.py_buffer(block),
            pa.csv.ReadOptions(use_threads=False, column_names=self._names, block_size=len(block) + 1),
            pa.csv.ParseOptions(
                newlines_in_values=b'"' in block, invalid_row_handler=None if ragged is None else skip
            ),
            convert,
        )

    def _parse_carefully(self, block: bytearray, n_lines: int) -> Rows:
        """Rows of a block in which something is wrong: what fits, and a fault for each that does not."""
        ragged: list[pa.csv.InvalidRow] = []
        table = self._read(block, self._as_bytes, ragged)
        wrong = {row.number - 1: row for row in ragged}
        n_rows = table.num_rows + len(wrong)
        faults = [
            Fault(at, "", f"{row.actual_columns} values in the row, {row.expected_columns} expected")
            for at, row in wrong.items()
        ]
        sound = np.delete(np.arange(n_rows), list(wrong))
        places = np.full(n_rows, -1)
        places[sound] = np.arange(len(sound))
        index = pa.array(places, mask=places < 0)
        texts: dict[str, pa.Array] = {}
        for name, column in (self.plan.features | self.plan.passthrough).items():
            raw = _single(table[column]).take(index)
            texts[name], bad = _as_text(raw)
            faults += [
                Fault(at, name, f"bytes {raw[at].as_py()[:_SHOWN_BYTES]!r} given, UTF-8 text expected")
                for at in bad
            ]
        known = {(fault.row, fault.column) for fault in faults}
        columns = {name: texts[name] for name in self.plan.features}
        matrix, more = coded_matrix(columns, self._book, n_rows)
        faults += [f for f in more if f.row not in wrong and (f.row, f.column) not in known]
        faults.sort(key=lambda fault: fault.row)
        passthrough = [texts[name] for name in self.plan.passthrough]
        return Rows(matrix, passthrough, faults, _record_lines(block), n_lines)


def _header(head: bytearray) -> tuple[list[str], int]:
    """Column names, and where the records begin."""
    start = len(head) - len(head.lstrip(b"\r\n"))
    if start == len(head):
        raise InputError("The CSV file is empty. Its first line must name the columns.")
    ends = csv_record_ends(head[start:])
    end = start + int(ends[0]) + 1 if len(ends) else len(head)
    line = bytes(head[start:end])
    if b"\r" in line.rstrip(b"\r\n"):
        raise InputError("The lines of the CSV file end in CR alone. Use LF or CR LF.")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The header of the CSV file is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    try:
        names = pa.csv.read_csv(
            pa.py_buffer(line),
            pa.csv.ReadOptions(use_threads=False, block_size=len(line) + 1),
            pa.csv.ParseOptions(newlines_in_values=True),
        ).column_names
    except pa.ArrowInvalid as error:
        raise InputError(f"Cannot read the header of the CSV file: {error}") from error
    return list(names), end


def _as_text(raw: pa.Array) -> tuple[pa.Array, list[int]]:
    """Bytes as text, null where they are none, and the places of those."""
    try:
        return raw.cast(pa.string()), []
    except pa.ArrowInvalid:
        values: list[bytes | None] = raw.to_pylist()
    bad = [at for at, v in enumerate(values) if v is not None and v.decode(errors="ignore").encode() != v]
    for at in bad:
        values[at] = None
    return pa.array(values, pa.binary()).cast(pa.string()), bad


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _record_lines(block: bytearray) -> NDArray[np.int64]:
    """Line, within the block, on which each record begins; blank lines are none."""
    ends = csv_record_ends(block)
    if not len(ends) or ends[-1] < len(block) - 1:  # it may end with a line end within quotes
        ends = np.append(ends, len(block))
    starts = np.append(0, ends[:-1] + 1)
    newlines = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
    blank = [not block[start:end].strip(b"\r\n") for start, end in zip(starts, ends, strict=True)]
    lines: NDArray[np.int64] = np.searchsorted(newlines, starts[~np.array(blank, dtype=bool)])
    return lines


class _CsvWriter(Writer):
    """Writes a header and records, with quotes only where a text needs them."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        # Arrow quotes every text or none. None is right where the only texts are labels that need no quotes.
        texts = sum(pa.types.is_string(field.type) for field in columns)
        plain = not any(_STRUCTURAL & set(label) for label in schema.classes if isinstance(label, str))
        only_labels = texts == (schema.target_type == "string") and not any(
            map(pa.types.is_nested, columns.types)
        )
        self._unquoted = plain and only_labels
        self._options = pa.csv.WriteOptions(
            include_header=False, quoting_style="none" if self._unquoted else "needed"
        )
        names = [
            '"' + name.replace('"', '""') + '"' if _STRUCTURAL & set(name) else name for name in columns.names
        ]
        sink.write((",".join(names) + "\n").encode())

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        buffer = pa.BufferOutputStream()
        if self._unquoted:
            batch = pa.record_batch([_spelt_out(column) for column in batch.columns], batch.schema.names)
        pa.csv.write_csv(batch, buffer, self._options)
        return buffer.getvalue()


def _spelt_out(column: pa.Array) -> pa.Array:
    """Numbers as text where few of them are distinct: each is spelt out once, which is what takes long."""
    if not pa.types.is_float64(column.type):
        return column
    distinct = column.dictionary_encode()
    if len(distinct.dictionary) > len(column) // 4:
        return column
    return distinct.dictionary.cast(pa.string()).take(distinct.indices)


CSV = Format(
    "csv",
    "CSV",
    suffixes=("csv",),
    media_types=("text/csv",),
    reader=CsvReader,
    writer=_CsvWriter,
    begins=lambda text: b"," in text.split(b"\n")[0] and not text.startswith(b"{"),
)
