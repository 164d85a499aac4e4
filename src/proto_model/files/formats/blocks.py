"""A text file cut into blocks of whole records, so that several threads can parse it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.transfer import FileSettings, LimitError

#: Part of `max_batch_bytes` that the rows of one block may take: they are copied several times on their way.
BATCH_SHARE = 4

_BLOCK_BYTES = 2 << 20
_EXPLAINED_BLOCK_BYTES = 32 << 10
_ROWS_BYTES = 64 << 20  # what the rows of a block may become, features and answer
_ANSWER_BYTES, _REASONS_BYTES = 256, 1536  # of a row, about

BOM = b"\xef\xbb\xbf"  # the byte order mark, which a file of text may begin with
_QUOTE, _NEWLINE, _RETURN = 34, 10, 13
_FIELD_STARTS = np.frombuffer(b",\r\n", dtype=np.uint8)


def block_bytes(explain: bool) -> int:
    """Bytes of text to work on at a time; fewer when each row takes long, for all cores to have some."""
    return _EXPLAINED_BLOCK_BYTES if explain else _BLOCK_BYTES


def cut_blocks(
    source: io.RawIOBase,
    last_end: Callable[[bytearray], int],
    settings: FileSettings,
    n_bytes: int,
    line_at: Callable[[bytearray], int],
    check_last: Callable[[bytearray], None] = lambda block: None,
) -> Iterator[bytearray]:
    """Blocks of about a size that hold whole records and together the whole file, without byte order mark.

    `last_end` gives the position after the last record that ends in a block, 0 when none does; `line_at` the
    line that follows a beginning of the block at hand; `check_last` raises where the file's last block does
    not end as it should. Raises LimitError when a record is longer than `max_row_bytes`, and InputError at
    a NUL, which no text has: a row of a text file that was damaged can have swallowed many others.
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
        nul = block.find(b"\0", len(rest))
        if nul >= 0:
            raise InputError(
                f"line {line_at(block[:nul])}: a NUL character (a byte that is 0), which no text has. Is the "
                "file damaged, in UTF-16, or no text at all?"
            )
        if first and (ended or len(block) >= len(BOM)):
            first = False  # even if no record ends here: what comes next is not the beginning
            if block.startswith(BOM):
                del block[: len(BOM)]
        end = len(block) if ended else last_end(block)
        if not end and len(block) >= settings.max_row_bytes:
            raise LimitError(
                f"A row is longer than {settings.max_row_bytes} bytes (PROTO_MODEL_FILES_MAX_ROW_BYTES). "
                "Is a closing quote or a line end missing?"
            )
        rest = bytes(memoryview(block)[end:])
        if ended:
            check_last(block)
        if end:
            del block[end:]
            first = False
            yield block
        if ended:
            return


def most_rows(n_features: int, marking: bool) -> int:
    """Rows to work on at a time, however short they are: a row of three bytes fills a row of the matrix."""
    answer = _ANSWER_BYTES + _REASONS_BYTES * marking
    return max(1024, _ROWS_BYTES // (8 * n_features + answer))


@dataclass(frozen=True)
class TextBlock:
    """Whole records of a text file."""

    data: bytearray
    n_lines: int

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, as of a record batch."""
        return len(self.data)


def split_blocks(
    blocks: Iterable[bytearray],
    ends: Callable[[bytearray], NDArray[np.int64]],
    lines: LineCount,
    max_rows: int,
) -> Iterator[TextBlock]:
    """The same records in blocks of at most so many, by the positions of their ends.

    Lines are counted when a block comes; in a block that is cut, those of its parts anew.
    """
    for block in blocks:
        n_lines = lines.add(block)
        if n_lines <= max_rows:
            yield TextBlock(block, n_lines)
            continue
        places = [0, *(ends(block)[max_rows - 1 :: max_rows] + 1).tolist(), len(block)]
        parts = (block[start:end] for start, end in pairwise(places) if start < end)
        yield from (TextBlock(part, lines.count(part)) for part in parts)


class LineCount:
    """Number of lines of what was read so far, but for the block at hand."""

    def __init__(self, count: Callable[[bytearray], int]) -> None:
        self.count, self.n_lines = count, 0

    def add(self, block: bytearray) -> int:
        """Number of lines of a block, which was read."""
        n_lines = self.count(block)
        self.n_lines += n_lines
        return n_lines

    def line_at(self, beginning: bytearray) -> int:
        """Line that follows a beginning of the block at hand."""
        return 1 + self.n_lines + self.count(beginning)


def count_lines(block: bytearray) -> int:
    """Number of line ends; `bytearray.count` takes six times as long."""
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == _NEWLINE))


def line_ends(block: bytes | bytearray) -> NDArray[np.int64]:
    """Positions of the line ends."""
    return np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == _NEWLINE)


def last_line_end(block: bytearray) -> int:
    """Position after the last line end, 0 when there is none."""
    return block.rfind(b"\n") + 1


def count_csv_lines(block: bytearray) -> int:
    """Number of line ends; a CR alone is one, too."""
    return count_lines(block) + len(_lone_returns(block))


def csv_line_ends(block: bytes | bytearray) -> NDArray[np.int64]:
    """Positions of the line ends; a CR alone is one, too."""
    newlines, returns = line_ends(block), _lone_returns(block)
    return np.sort(np.concatenate([newlines, returns])) if len(returns) else newlines


def last_csv_end(block: bytearray) -> int:
    """Position after the last line end outside quotes, 0 when there is none."""
    end = last_line_end(block)
    if end and b'"' not in block:
        return end
    ends = csv_record_ends(block)
    return int(ends[-1]) + 1 if len(ends) else 0


def csv_record_ends(block: bytes | bytearray) -> NDArray[np.int64]:
    r"""Positions of the line ends that end a CSV record, in a block that begins with a record.

    Examples
    --------
    >>> csv_record_ends(b'1,"a\nb"\n2,c\n')
    array([ 7, 11])
    """
    newlines = csv_line_ends(block)
    if b'"' not in block:
        return newlines
    outside: NDArray[np.int64] = newlines[np.searchsorted(_toggling(block), newlines) % 2 == 0]
    return outside


def open_quote(block: bytes | bytearray) -> int:
    """Position of the quote that no other one closes, -1 where there is none."""
    if b'"' not in block:
        return -1
    toggling = _toggling(block)
    return int(toggling[-1]) if len(toggling) % 2 else -1


def _toggling(block: bytes | bytearray) -> NDArray[np.int64]:
    """Quotes that open or close a field, or both at once, in turn."""
    data = np.frombuffer(block, dtype=np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    opening = quotes[0::2]
    before = np.where(opening > 0, data[opening - 1], _NEWLINE)
    if (np.isin(before, _FIELD_STARTS) | (before == _QUOTE)).all():
        return quotes
    # Some are only characters of unquoted fields. Of quotes in a row, an even number changes nothing. An odd
    # number at the start of a field opens it or, within quotes, closes them; elsewhere it only closes.
    begins = np.append(0, np.flatnonzero(np.diff(quotes) > 1) + 1)
    runs = quotes[begins[np.diff(np.append(begins, len(quotes))) % 2 == 1]]
    is_start = np.isin(np.where(runs > 0, data[runs - 1], _NEWLINE), _FIELD_STARTS)
    n_starts = np.cumsum(is_start)
    n_when_closed = np.maximum.accumulate(np.where(is_start, 0, n_starts))
    is_inside = (n_starts - n_when_closed) % 2 == 1
    toggling: NDArray[np.int64] = runs[np.diff(is_inside, prepend=False)]
    return toggling


def _lone_returns(block: bytes | bytearray) -> NDArray[np.int64]:
    """Positions of the CRs before anything but LF; what follows the last byte is not known."""
    if b"\r" not in block:
        return np.empty(0, dtype=np.int64)
    data = np.frombuffer(block, dtype=np.uint8)
    return np.flatnonzero((data[:-1] == _RETURN) & (data[1:] != _NEWLINE))


def fill(source: io.RawIOBase, block: bytearray, start: int = 0) -> int:
    """Read into a block until it is full or the file ends; the number of bytes it then holds."""
    with memoryview(block) as view:
        while start < len(view):
            n_bytes = source.readinto(view[start:])
            if not n_bytes:
                break
            start += n_bytes
    return start
