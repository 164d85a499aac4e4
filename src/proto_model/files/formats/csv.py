"""CSV: blocks of records, parsed with the schema's types; what does not fit is found on a second look."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from proto_model.batches.rows import Fault, Rows, Watch, coded_matrix, plan_columns
from proto_model.errors import InputError
from proto_model.files.formats.base import Format, Writer
from proto_model.files.formats.blocks import (
    BOM,
    LineCount,
    TextBlock,
    block_bytes,
    count_csv_lines,
    csv_line_ends,
    csv_record_ends,
    cut_blocks,
    last_csv_end,
    most_rows,
    open_quote,
    split_blocks,
)
from proto_model.files.formats.plain_numbers import parse_numbers
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import has_nan
from proto_model.values import MISSING_MARKERS, RuleBook

_TEXT = pa.dictionary(pa.int32(), pa.string())
_SHOWN_BYTES = 30
_ASCII = bytes(range(128)) + b"x" * 128
_STRUCTURAL = frozenset('",\r\n')


class CsvReader:
    """Rows of a CSV file with a header, comma-separated, in UTF-8."""

    place = "line"

    def __init__(
        self,
        source: io.RawIOBase,
        schema: ModelSchema,
        options: Parameters,
        settings: FileSettings,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._lines = LineCount(count_csv_lines)
        n_bytes = block_bytes(options.explain)
        self._blocks = cut_blocks(
            source, last_csv_end, settings, n_bytes, self._lines.line_at, self._check_last
        )
        self._book, self._watch = RuleBook(schema), Watch(check, options.on_bad_row == "mark")
        self._max_rows = most_rows(len(schema.features), self._watch.marking)
        head = next(self._blocks, bytearray())
        self._names, header_end = _header(head)
        self.first_line = 1 + self._lines.add(head[:header_end])
        self._first = head[header_end:]
        self.plan = plan_columns(self._names, schema, options.passthrough, settings.max_columns)
        self.passthrough_fields = [pa.field(name, pa.string()) for name in options.passthrough]
        texts = {f.name for f in schema.features if f.type == "boolean" or not f.takes_numbers}
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

    def blocks(self) -> Iterator[TextBlock]:
        """Whole records, in order."""
        first = [self._first] if self._first else []
        self._first = bytearray()
        return split_blocks(chain(first, self._blocks), csv_record_ends, self._lines, self._max_rows)

    def _check_last(self, block: bytearray) -> None:
        quote = open_quote(block)
        if quote >= 0:
            line = self._lines.line_at(block[:quote])
            raise InputError(
                f"line {line}: the file ends before the quote that closes a value. Was it cut, or is a quote "
                "too many?"
            )

    def parse(self, text: TextBlock) -> Rows:
        """Rows of a block; called by several threads at once."""
        block, n_lines = text.data, text.n_lines
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
        matrix, faults = coded_matrix(columns, self._book, n_rows, self._watch, matrix, filled)
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
            _whole(block),
            pa.csv.ReadOptions(use_threads=False, column_names=self._names, block_size=_block_size(block)),
            pa.csv.ParseOptions(
                newlines_in_values=b'"' in block, invalid_row_handler=None if ragged is None else skip
            ),
            convert,
        )

    def _parse_carefully(self, block: bytearray, n_lines: int) -> Rows:
        """Rows of a block in which something is wrong: what fits, and a fault for each that does not."""
        table, ragged = self._read_ragged(block)
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
            texts[name], bad = _as_text(raw, self._watch)
            faults += [
                Fault(at, name, f"bytes {raw[at].as_py()[:_SHOWN_BYTES]!r} given, UTF-8 text expected")
                for at in self._watch.each(bad)
            ]
        known = {(fault.row, fault.column) for fault in faults}
        columns = {name: texts[name] for name in self.plan.features}
        matrix, more = coded_matrix(columns, self._book, n_rows, self._watch)
        faults += [f for f in more if f.row not in wrong and (f.row, f.column) not in known]
        faults = self._watch.shown(faults)
        passthrough = [texts[name] for name in self.plan.passthrough]
        lines = _record_lines(block)
        if len(lines) != n_rows:
            raise InputError(
                f"The quotes of the CSV file are ambiguous: is it {len(lines)} or {n_rows} rows?"
            )
        return Rows(matrix, passthrough, faults, lines, n_lines)

    def _read_ragged(self, block: bytearray) -> tuple[pa.Table, list[pa.csv.InvalidRow]]:
        """Columns of the rows with as many values as the header has, and the other rows."""
        ragged: list[pa.csv.InvalidRow] = []
        try:
            block.decode()
        except UnicodeDecodeError:
            # Arrow ends when it shall name a row that is no UTF-8 text. Other bytes do not change the rows.
            self._read(block.translate(_ASCII), self._as_bytes, ragged)
            spans = list(_record_spans(block))
            wrong = {row.number - 1 for row in ragged}
            sound = b"".join(block[start:end] for at, (start, end) in enumerate(spans) if at not in wrong)
            return self._read(bytearray(sound), self._as_bytes), ragged
        return self._read(block, self._as_bytes, ragged), ragged


def _header(head: bytearray) -> tuple[list[str], int]:
    """Column names, and where the records begin."""
    start = len(head) - len(head.lstrip(b"\r\n"))
    if start == len(head):
        raise InputError("The CSV file is empty. Its first line must name the columns.")
    ends = csv_record_ends(head[start:])
    end = start + int(ends[0]) + 1 if len(ends) else len(head)
    line = bytes(head[start:end])
    if len(ends) and line.endswith(b"\r"):
        raise InputError("The lines of the CSV file end in CR alone. Use LF or CR LF.")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The header of the CSV file is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    try:
        names = pa.csv.read_csv(
            _whole(line if line.endswith((b"\n", b"\r")) else line + b"\n"),
            pa.csv.ReadOptions(use_threads=False, block_size=_block_size(line)),
            pa.csv.ParseOptions(newlines_in_values=True),
        ).column_names
    except pa.ArrowInvalid as error:
        raise InputError(f"Cannot read the header of the CSV file: {error}") from error
    return list(names), end


def _as_text(raw: pa.Array, watch: Watch) -> tuple[pa.Array, list[int]]:
    """Bytes as text, null where they are none, and the places of those."""
    try:
        return raw.cast(pa.string()), []
    except pa.ArrowInvalid:
        values: list[bytes | None] = raw.to_pylist()
    bad = [
        at
        for at, value in watch.each(enumerate(values))
        if value is not None and value.decode(errors="ignore").encode() != value
    ]
    for at in bad:
        values[at] = None
    return pa.array(values, pa.binary()).cast(pa.string()), bad


def _whole(block: bytes | bytearray) -> pa.Buffer:
    """A block for Arrow's reader, which would leave out a byte order mark at its beginning, but only one."""
    return pa.py_buffer(BOM + block if block.startswith(BOM) else block)


def _block_size(block: bytes | bytearray) -> int:
    """More than Arrow's reader gets, so that it takes the block in one piece."""
    return len(block) + len(BOM) + 2


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _record_spans(block: bytearray) -> Iterator[tuple[int, int]]:
    """Where each record begins and where the next one does; blank lines are none."""
    ends = csv_record_ends(block)
    if len(ends) == 0 or ends[-1] < len(block) - 1:
        ends = np.append(ends, len(block) - 1)
    for start, end in pairwise([0, *(ends + 1).tolist()]):
        if block[start:end].strip(b"\r\n"):
            yield start, end


def _record_lines(block: bytearray) -> NDArray[np.int64]:
    """Line, within the block, on which each record begins; blank lines are none."""
    starts = np.array([start for start, _ in _record_spans(block)], dtype=np.int64)
    return np.searchsorted(csv_line_ends(block), starts)


def _is_writable(kind: pa.DataType) -> bool:
    """Whether Arrow's writer takes a type; it says no more than that it does not."""
    try:
        pa.csv.write_csv(pa.record_batch([pa.nulls(1, kind)], ["x"]), pa.BufferOutputStream())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


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
        try:
            pa.csv.write_csv(batch, buffer, self._options)
        except pa.ArrowInvalid as error:
            raise _no_text(batch) or error from None
        return buffer.getvalue()


def _no_text(batch: pa.RecordBatch) -> InputError | None:
    """What is wrong with the first column whose bytes are no text."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            try:
                column.cast(pa.large_string())
            except pa.ArrowInvalid:
                return InputError(
                    f"Column {name!r} has bytes that are not UTF-8 text, so it cannot be written to CSV. "
                    "Leave it out of passthrough, or choose another output_format."
                )
    return None


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
    writes=_is_writable,
    begins=lambda text: b"," in text.split(b"\n")[0] and not text.startswith(b"{"),
)
