"""Pages of a Parquet file, held against a limit before Parquet's reader unpacks them.

Parquet's reader allocates whatever the head of a page announces, and unpacks the pages of a whole batch: a
file of 106 KB can take 6 GB. What a page becomes stands in its head. The footer says the same of all pages
of a column, but nothing makes it true.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from proto_model.errors import InputError
from proto_model.files.formats.blocks import BATCH_SHARE
from proto_model.files.formats.thrift import Compact, Damaged, Fields
from proto_model.files.transfer import LimitError

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_VALUE_BYTES = 8  # of an offset or index, and what says where a value is missing or a list begins
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # kinds of pages
_PLAIN, _PLAIN_DICTIONARY, _DELTA_LENGTH, _RLE_DICTIONARY = 0, 2, 6, 8  # encodings
_DELTA_NAMES = {"DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"}
_OLD_PADDING = 100  # bytes that Parquet's reader goes beyond a column's end, for files of an old writer
_HEAD_BYTES = (256, 1 << 12, 1 << 16, 1 << 20, 1 << 24)
_TEXTS = {"NONE", "STRING", "JSON", "ENUM", "BSON"}


@dataclass(frozen=True)
class Leaf:
    """A column of plain values, of which a nested column has one or several."""

    index: int
    name: str  # of its column
    path: str
    width: int  # of a value in bytes; 0 for texts and the like, which have any
    is_nested: bool
    is_coded: bool  # whether it can be read as indices and a dictionary


@dataclass(frozen=True)
class _Chunk:
    """What the values of a column in a row group may become in memory, page by page."""

    n_values: list[int]
    most_bytes: list[int]  # of all values of the page
    most_value_bytes: list[int]  # of one
    held_bytes: int  # the largest page and the dictionary

    def batch_bytes(self, n_rows: int) -> float:
        """Bytes that so many rows in a row may take."""
        if not self.n_values:
            return 0.0
        n_values = np.array(self.n_values, dtype=np.int64)
        most_value_bytes = np.array(self.most_value_bytes, dtype=np.float64)
        ends = np.cumsum(n_values)
        sums = np.append(0.0, np.cumsum(np.minimum(self.most_bytes, n_rows * most_value_bytes)))
        first = np.arange(len(ends))
        last = np.searchsorted(ends - n_values, ends - 1 + n_rows)  # one after the last page
        return float((sums[np.maximum(last, first + 1)] - sums[first]).max())


class _NoData(io.RawIOBase):
    """A file of some size of which nothing can be read."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self._n_bytes, self._position = n_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = offset + (self._n_bytes if whence == os.SEEK_END else 0)
        return self._position

    def read(self, n_bytes: int = -1, /) -> bytes:
        raise _Reached


class _Reached(Exception):
    """Parquet's reader wants to read pages."""


def check_columns(
    metadata: pq.FileMetaData, n_bytes: int, names: list[str], check: Callable[[], None]
) -> None:
    """Raise what Parquet's reader says of a footer that is damaged, for some columns of a file of some size.

    To ask the footer of such a column instead would end the process: `metadata.row_group(0).column(0)` lets
    no exception through. The reader looks at what the footer says of all columns before the first page, if
    it has a buffer; without one it reads each column as it comes to it.
    """
    source = pa.PythonFile(_NoData(n_bytes), mode="r")
    file = pq.ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=_HEAD_BYTES[0])
    for group in range(metadata.num_row_groups):
        check()
        if metadata.row_group(group).num_columns != metadata.num_columns:
            raise InputError("The Parquet file is damaged: a row group has not all columns.")
        batches = file.iter_batches(1, row_groups=[group], columns=names, use_threads=False)
        with contextlib.suppress(_Reached, StopIteration):
            next(batches)


def leaves_of(metadata: pq.FileMetaData, names: list[str]) -> list[Leaf]:
    """Leaves of the columns with some names."""
    wanted = set(names)
    schema = metadata.schema
    found = []
    for index in range(len(schema)):
        column = schema.column(index)
        name = next((n for n in _prefixes(column.path) if n in wanted), None)
        if name is None:
            continue
        is_text = column.physical_type == "BYTE_ARRAY"
        is_coded = is_text and column.logical_type.type in _TEXTS and not _has_deltas(metadata, index)
        width = 0 if is_text else _WIDTHS.get(column.physical_type, column.length)
        is_nested = column.path != name or column.max_repetition_level > 0
        found.append(Leaf(index, name, column.path, width, is_nested, is_coded))
    return found


def _prefixes(path: str) -> Iterator[str]:
    """A path and all its beginnings; a name may have dots itself."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _has_deltas(metadata: pq.FileMetaData, index: int) -> bool:
    """Whether a column is written in a way that cannot be read as a dictionary."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return any(_DELTA_NAMES & set(group.column(index).encodings) for group in groups)


class PageGuard:
    """Says how many rows of a row group may be read at a time, after a look at the heads of all its pages."""

    def __init__(
        self,
        file: IO[bytes],
        metadata: pq.FileMetaData,
        leaves: list[Leaf],
        max_bytes: int,
        check: Callable[[], None],
    ) -> None:
        self._file, self._metadata, self._leaves = file, metadata, leaves
        self._max_bytes, self._check = max_bytes, check
        self._batch_bytes = max_bytes // BATCH_SHARE

    def coded(self, group: int) -> frozenset[str]:
        """Paths of the leaves to read as indices and a dictionary.

        Not those whose texts stand in the pages themselves: the reader would collect all of them.
        """
        row_group = self._metadata.row_group(group)
        columns = ((leaf, row_group.column(leaf.index)) for leaf in self._leaves if leaf.is_coded)
        return frozenset(
            leaf.path
            for leaf, column in columns
            if column.has_dictionary_page and column.total_uncompressed_size <= self._batch_bytes
        )

    def is_small(self, group: int, n_rows: int, coded: frozenset[str]) -> bool:
        """Whether so many rows may be read at a time wherever they are, as far as the footer says."""
        if any(leaf.is_nested for leaf in self._leaves):
            return False
        row_group, held, total = self._metadata.row_group(group), 0, 0
        for leaf in self._leaves:
            column = row_group.column(leaf.index)
            if not leaf.width and leaf.path not in coded and column.has_dictionary_page:
                return False
            n_bytes = 2 * column.total_uncompressed_size
            held += n_bytes
            total += min(n_rows, column.num_values) * (leaf.width + _VALUE_BYTES)
            total += 0 if leaf.width else n_bytes
        return held <= self._max_bytes and total <= self._batch_bytes

    def rows_at_once(self, group: int, most: int, coded: frozenset[str]) -> int:
        """Rows that may be read at a time, at most so many.

        Raises LimitError where even one row at a time takes too much memory, and InputError where the pages
        are not what the footer says.
        """
        chunks = [self._chunk(group, leaf, leaf.path in coded) for leaf in self._leaves]
        held = sum(chunk.held_bytes for chunk in chunks)
        nested = sum(
            sum(chunk.most_bytes) for chunk, leaf in zip(chunks, self._leaves, strict=True) if leaf.is_nested
        )
        flat = [c for c, leaf in zip(chunks, self._leaves, strict=True) if not leaf.is_nested]
        n_rows, n_bytes = most, float(sum(sum(chunk.most_bytes) for chunk in flat))
        if n_bytes > self._batch_bytes:
            while (n_bytes := sum(c.batch_bytes(n_rows) for c in flat)) > self._batch_bytes and n_rows > 1:
                n_rows //= 2
        n_bytes = max(held, nested + n_bytes)
        if n_bytes > self._max_bytes:
            raise LimitError(
                f"Row group {group + 1} of the Parquet file takes {int(n_bytes)} bytes at once after "
                f"decompression. The limit is {self._max_bytes} (PROTO_MODEL_FILES_MAX_BATCH_BYTES). Write "
                "smaller pages; for nested columns, smaller row groups."
            )
        return n_rows

    def _chunk(self, group: int, leaf: Leaf, is_coded: bool) -> _Chunk:
        row_group = self._metadata.row_group(group)
        column = row_group.column(leaf.index)
        n_values, most, most_value = [], [], []
        dictionary = largest = collected = 0
        for page in self._pages(column.data_page_offset, column.dictionary_page_offset, column):
            kind, unpacked, packed = (page[number] for number in (1, 2, 3))
            assert isinstance(unpacked, int)
            assert isinstance(packed, int)
            largest = max(largest, unpacked + packed)
            if kind == _DICTIONARY:
                dictionary = max(dictionary, unpacked)
            values = _data_page(page)
            if values is None:
                continue
            n, encoding = values
            value_bytes = _VALUE_BYTES + (leaf.width or _text_bytes(is_coded, encoding, unpacked, dictionary))
            total = n * value_bytes
            if not leaf.width and encoding in (_PLAIN, _DELTA_LENGTH):
                total = unpacked + n * _VALUE_BYTES
                collected += unpacked * is_coded
            n_values.append(n)
            most.append(total)
            most_value.append(value_bytes)
        n_found = sum(n_values)
        if n_found != column.num_values or not (leaf.is_nested or n_found == row_group.num_rows):
            raise InputError(
                f"The Parquet file is damaged: column {leaf.name!r} of row group {group + 1} has {n_found} "
                f"values, but its footer says {column.num_values}, and {row_group.num_rows} rows."
            )
        return _Chunk(n_values, most, most_value, largest + 2 * (dictionary + collected))

    def _pages(
        self, data_at: int, dictionary_at: int | None, column: pq.ColumnChunkMetaData
    ) -> Iterator[Fields]:
        """Heads of a column's pages, up to the last that its reader looks at."""
        at = min(data_at, dictionary_at) if dictionary_at else data_at
        end, n_left = at + column.total_compressed_size + _OLD_PADDING, column.num_values
        while n_left > 0 and at < end:
            self._check()
            page, n_bytes = self._head(at)
            values = _data_page(page)
            n_left -= values[0] if values else 0
            yield page
            assert isinstance(page[3], int)
            at += n_bytes + page[3]

    def _head(self, at: int) -> tuple[Fields, int]:
        """Head of the page at a place, and its length."""
        for n_bytes in _HEAD_BYTES:
            self._file.seek(at)
            data = self._file.read(n_bytes)
            reader = Compact(data)
            try:
                page = reader.struct()
            except IndexError:
                if len(data) < n_bytes:
                    break
                continue
            if reader.at > len(data):  # a text at the end was passed over
                continue
            sizes = [page.get(number) for number in (1, 2, 3)]
            if not all(isinstance(size, int) and size >= 0 for size in sizes):
                break
            return page, reader.at
        raise Damaged("The Parquet file is damaged: the head of a page cannot be read.")


def _data_page(page: Fields) -> tuple[int, int] | None:
    """Number of values and encoding of a page, None where it holds no values."""
    kind = page[1]
    if kind not in (_DATA, _DATA_V2):
        return None
    head = page.get(5 if kind == _DATA else 8)
    if isinstance(head, dict):
        n_values, encoding = head.get(1), head.get(2 if kind == _DATA else 4)
        if isinstance(n_values, int) and n_values >= 0 and isinstance(encoding, int):
            return n_values, encoding
    raise Damaged("The Parquet file is damaged: the head of a page cannot be read.")


def _text_bytes(is_coded: bool, encoding: int, page_bytes: int, dictionary_bytes: int) -> int:
    """Most bytes that one text of a page may have."""
    if encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
        return 0 if is_coded else dictionary_bytes
    return page_bytes
