"""A text file cut into blocks of whole records, so that several threads can parse it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from proto_model.files.transfer import FileSettings, LimitError

_BLOCK_BYTES = 2 << 20
_EXPLAINED_BLOCK_BYTES = 32 << 10

_BOM = b"\xef\xbb\xbf"
_QUOTE, _NEWLINE = 34, 10
_FIELD_STARTS = np.frombuffer(b",\r\n", dtype=np.uint8)


def block_bytes(explain: bool) -> int:
    """Bytes of text to work on at a time; fewer when each row takes long, for all cores to have some."""
    return _EXPLAINED_BLOCK_BYTES if explain else _BLOCK_BYTES


def cut_blocks(
    source: io.RawIOBase,
    last_end: Callable[[bytearray], int],
    settings: FileSettings,
    n_bytes: int,
) -> Iterator[bytearray]:
    """Blocks of about a size that hold whole records and together the whole file, without byte order mark.

    `last_end` gives the position after the last record that ends in a block, 0 when none does. Raises
    LimitError when a record is longer than `max_row_bytes`.
    """
    n_bytes = min(n_bytes, settings.max_row_bytes)
    rest, first = b"", True
    while True:
        size = n_bytes if len(rest) < n_bytes else min(2 * len(rest), settings.max_row_bytes)
        block = bytearray(size)
        block[: len(rest)] = rest
        filled = fill(source, block, len(rest))
        ended = filled < size
        del block[filled:]
        if first and block.startswith(_BOM):
            del block[: len(_BOM)]
        end = len(block) if ended else last_end(block)
        if not end and len(block) >= settings.max_row_bytes:
            raise LimitError(
                f"A row is longer than {settings.max_row_bytes} bytes (PROTO_MODEL_FILES_MAX_ROW_BYTES). "
                "Is a closing quote or a line end missing?"
            )
        rest = bytes(memoryview(block)[end:])
        if end:
            del block[end:]
            first = False
            yield block
        if ended:
            return


def count_lines(block: bytearray) -> int:
    """Number of line ends; `bytearray.count` takes six times as long."""
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == _NEWLINE))


def last_line_end(block: bytearray) -> int:
    """Position after the last line end, 0 when there is none."""
    return block.rfind(b"\n") + 1


def last_csv_end(block: bytearray) -> int:
    """Position after the last line end outside quotes, 0 when there is none."""
    if b'"' not in block:
        return last_line_end(block)
    ends = csv_record_ends(block)
    return int(ends[-1]) + 1 if len(ends) else 0


def csv_record_ends(block: bytes | bytearray) -> NDArray[np.int64]:
    r"""Positions of the line ends that end a CSV record, in a block that begins with a record.

    Examples
    --------
    >>> csv_record_ends(b'1,"a\nb"\n2,c\n')
    array([ 7, 11])
    """
    data = np.frombuffer(block, dtype=np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    quotes = np.flatnonzero(data == _QUOTE)
    if len(quotes) == 0:
        return newlines
    opening = quotes[0::2]
    before = np.where(opening > 0, data[opening - 1], _NEWLINE)
    if not (np.isin(before, _FIELD_STARTS) | (before == _QUOTE)).all():
        quotes = _toggling(data, quotes)
    outside: NDArray[np.int64] = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    return outside


def _toggling(data: NDArray[np.uint8], quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quotes that open or close a field; one inside an unquoted field is only a character."""
    toggling: list[int] = []
    inside, skip = False, False
    following = np.append(quotes[1:], -1)
    for quote, after in zip(quotes.tolist(), following.tolist(), strict=True):
        if skip:
            skip = False
        elif inside:
            if after == quote + 1:
                skip = True
            else:
                inside = False
                toggling.append(quote)
        elif quote == 0 or data[quote - 1] in _FIELD_STARTS:
            inside = True
            toggling.append(quote)
    return np.array(toggling, dtype=np.int64)


def fill(source: io.RawIOBase, block: bytearray, start: int = 0) -> int:
    """Read into a block until it is full or the file ends; the number of bytes it then holds."""
    with memoryview(block) as view:
        while start < len(view):
            n_bytes = source.readinto(view[start:])
            if not n_bytes:
                break
            start += n_bytes
    return start
