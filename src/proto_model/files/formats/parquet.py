"""Parquet: batches of rows while the file still arrives, once its footer is known."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from proto_model.batches.rows import Rows, Watch
from proto_model.errors import InputError
from proto_model.files.formats.arrow import batch_rows, plan_typed_columns, rows_of_batch
from proto_model.files.formats.base import Format, Writer
from proto_model.files.formats.parquet_pages import Leaf, PageGuard, check_columns, leaves_of
from proto_model.files.formats.thrift import Compact, Fields
from proto_model.files.transfer import FileSettings, LimitError
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.values import RuleBook

_READ_BYTES = 1 << 17
_ROW_GROUP_ROWS, _ROW_GROUP_BYTES = 1 << 17, 128 << 20
_MAGIC = b"PAR1"
_FOOTER_SHARE = 16  # a footer takes many times its bytes once it is read
_MOST_ITEMS = 256  # row groups, or columns at all levels, of a footer that needs no look before it is read
_MOST_LEVELS = 64
_SCHEMA, _N_CHILDREN = 2, 5  # fields of the footer and of a column in it


class ParquetReader:
    """Rows of a Parquet file."""

    place = "row"
    first_line = 0

    def __init__(
        self,
        file: IO[bytes],
        schema: ModelSchema,
        options: Parameters,
        settings: FileSettings,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._book, self._watch = RuleBook(schema), Watch(check, options.on_bad_row == "mark")
        self._max_bytes = settings.max_batch_bytes
        metadata = open_footer(file, settings.max_batch_bytes, check)
        _check_footer(metadata, settings)
        file_schema = metadata.schema.to_arrow_schema()
        self.plan = plan_typed_columns(file_schema, schema, options, settings)
        check_columns(metadata, file.seek(0, os.SEEK_END), self.plan.needed, check)
        leaves = leaves_of(metadata, self.plan.needed)
        _check_alone(file, metadata, leaves)
        self._file, self._metadata, self.n_rows = file, metadata, metadata.num_rows
        self._guard = PageGuard(file, metadata, leaves, settings.max_batch_bytes, check)
        self._paths = frozenset(leaf.path for leaf in leaves if not _is_view(file_schema, leaf))
        read_schema = self._reader(frozenset(leaf.path for leaf in leaves if leaf.is_coded)).schema_arrow
        self.passthrough_fields = [
            (read_schema if pa.types.is_dictionary(file_schema.field(column).type) else file_schema)
            .field(column)
            .with_name(name)
            for name, column in self.plan.passthrough.items()
        ]
        self._batch_rows = batch_rows(len(self.plan.needed), len(schema.features), options)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Record batches, in order."""
        n_rows = 0
        for groups, coded in self._runs():
            for batch in self._batches(groups, coded):
                n_rows += batch.num_rows
                yield batch.select(self.plan.needed)
        if n_rows != self.n_rows:
            raise InputError(f"The Parquet file has {n_rows} rows, but its footer says {self.n_rows}.")

    def _runs(self) -> Iterator[tuple[list[int], frozenset[str]]]:
        """Row groups to read in one go: those that are small, and each other one alone; and what is coded."""
        run: list[int] = []
        last: frozenset[str] = frozenset()
        for group in range(self._metadata.num_row_groups):
            coded = self._guard.coded(group) & self._paths
            is_small = self._guard.is_small(group, self._batch_rows, coded)
            if run and (not is_small or coded != last):
                yield run, last
                run = []
            last = coded
            if is_small:
                run.append(group)
            else:
                yield [group], coded
        if run:
            yield run, last

    def _batches(self, groups: list[int], coded: frozenset[str]) -> Iterator[pa.RecordBatch]:
        """Batches of some row groups, whose pages are looked at before they are read."""
        starts = np.cumsum([0, *(self._metadata.row_group(group).num_rows for group in groups)])
        step = self._guard.rows_at_once(groups[0], self._batch_rows, coded)
        batches = self._reader(coded).iter_batches(
            step, row_groups=groups, columns=self.plan.needed, use_threads=False
        )
        n_checked, n_read = 1, 0
        while True:
            while n_checked < len(groups) and starts[n_checked] <= n_read + step:
                if self._guard.rows_at_once(groups[n_checked], step, coded) < step:
                    raise InputError("The Parquet file is damaged: its footer says less than its pages.")
                n_checked += 1
            batch = next(batches, None)
            if batch is None:
                return
            n_read += batch.num_rows
            yield batch

    def _reader(self, coded: frozenset[str]) -> pq.ParquetFile:
        """Parquet's reader; one long text repeated could fill the memory if it were not read as coded."""
        return _open(self._file, read_dictionary=sorted(coded & self._paths), metadata=self._metadata)

    def parse(self, block: pa.RecordBatch) -> Rows:
        """Rows of a batch; called by several threads at once."""
        rows = rows_of_batch(block, self.plan, self._book, self._watch, self._max_bytes)
        copied = [
            array.cast(field.type) if array.type != field.type else array
            for array, field in zip(rows.passthrough, self.passthrough_fields, strict=True)
        ]
        return dataclasses.replace(rows, passthrough=copied)


def _open(file: IO[bytes], **keywords: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.PythonFile(file, mode="r"),
        pre_buffer=False,
        buffer_size=_READ_BYTES,
        page_checksum_verification=True,
        **keywords,
    )


def open_footer(file: IO[bytes], max_bytes: int, check: Callable[[], None]) -> pq.FileMetaData:
    """The footer of a file of which nothing is wrong that its bytes can tell.

    Raises InputError where the file is no Parquet file, or two, and LimitError where the footer is too long.
    """
    n_file = file.seek(0, os.SEEK_END)
    file.seek(max(0, n_file - 8))
    end = file.read(8)
    n_footer = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or n_footer > n_file - 12:
        raise InputError("The Parquet file has no footer. Was it cut, or its writer not closed?")
    if n_footer > max_bytes // _FOOTER_SHARE:
        raise LimitError(
            f"The footer of the Parquet file has {n_footer} bytes. The limit is "
            f"{max_bytes // _FOOTER_SHARE}, 1/{_FOOTER_SHARE} of PROTO_MODEL_FILES_MAX_BATCH_BYTES. Write "
            "fewer row groups or columns."
        )
    footer_at = n_file - 8 - n_footer
    try:
        try:
            metadata = _open(file, thrift_container_size_limit=_MOST_ITEMS).metadata
        except OSError as error:
            if "limit" not in str(error).lower():
                raise
            file.seek(footer_at)
            _check_depth(Compact(file.read(n_footer), check=check).struct(kept_list=_SCHEMA))
            metadata = _open(file).metadata
    except UnicodeDecodeError:
        raise InputError("The name of a column is not UTF-8 text: is the file damaged?") from None
    except IndexError:
        raise InputError("The footer of the Parquet file is damaged.") from None
    return metadata


def _check_depth(footer: Fields) -> None:
    """Raise InputError where a column is nested so deeply that Parquet's reader ends the process."""
    left: list[int] = []
    elements = footer.get(_SCHEMA)
    for element in elements if isinstance(elements, list) else []:
        while left and left[-1] == 0:
            left.pop()
        if left:
            left[-1] -= 1
        n_children = element.get(_N_CHILDREN, 0)
        if isinstance(n_children, int) and n_children > 0:
            left.append(n_children)
        if len(left) > _MOST_LEVELS:
            raise InputError(f"A column of the Parquet file is nested more than {_MOST_LEVELS} levels deep.")


def _check_alone(file: IO[bytes], metadata: pq.FileMetaData, leaves: list[Leaf]) -> None:
    """Raise InputError for two files one after the other: the last footer knows only its own rows.

    Its places count from where its own file begins. Where that is can be no further from the start than the
    footer is from the data it knows.
    """
    end = len(_MAGIC)
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in (group.column(leaf.index) for leaf in leaves):
            first = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
            end = max(end, first + column.total_compressed_size)
    footer_at = file.seek(0, os.SEEK_END) - 8 - metadata.serialized_size
    n_left, before = footer_at - end + len(_MAGIC), b""
    file.seek(0)
    while n_left > 0 and (data := file.read(min(n_left, _READ_BYTES))):
        n_left -= len(data)
        if _MAGIC + _MAGIC in before + data:
            raise InputError("The file is several Parquet files one after the other. Send each on its own.")
        before = data[-2 * len(_MAGIC) + 1 :]


def _is_view(schema: pa.Schema, leaf: Leaf) -> bool:
    """Whether a column is of a type into which no dictionary can be turned."""
    return "_view" in str(schema.field(leaf.name).type)


def _check_footer(metadata: pq.FileMetaData, settings: FileSettings) -> None:
    if metadata.num_columns > settings.max_columns:
        raise LimitError(f"The file has {metadata.num_columns} columns. The limit is {settings.max_columns}.")
    if metadata.num_rows > settings.max_rows:
        raise LimitError(f"The file has {metadata.num_rows} rows. The limit is {settings.max_rows}.")
    sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    if sum(sizes) > settings.max_decompressed_bytes:
        raise LimitError(
            f"The file has {sum(sizes)} bytes after decompression. The limit is "
            f"{settings.max_decompressed_bytes} (PROTO_MODEL_FILES_MAX_DECOMPRESSED_BYTES)."
        )


def _is_writable(kind: pa.DataType) -> bool:
    """Whether Parquet has a form for a type."""
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("x", kind)])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True


class _ParquetWriter(Writer):
    """Writes row groups of some size, with page checksums."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        super().__init__(columns, schema, sink)
        self._writer = pq.ParquetWriter(sink, columns, compression="zstd", write_page_checksum=True)
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = self._n_waiting_bytes = 0

    def write(self, encoded: pa.RecordBatch) -> None:
        self._waiting.append(encoded)
        self._n_waiting += encoded.num_rows
        self._n_waiting_bytes += encoded.nbytes
        if self._n_waiting >= _ROW_GROUP_ROWS or self._n_waiting_bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting, self._columns), self._n_waiting)
        self._waiting, self._n_waiting, self._n_waiting_bytes = [], 0, 0


PARQUET = Format(
    "parquet",
    "Parquet",
    suffixes=("parquet",),
    media_types=("application/vnd.apache.parquet",),
    reader=ParquetReader,
    writer=_ParquetWriter,
    writes=_is_writable,
    magic=b"PAR1",
    seekable=True,
    compressible=False,
)
