from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.files.formats.blocks import (
    LineCount,
    count_csv_lines,
    csv_record_ends,
    cut_blocks,
    last_csv_end,
    last_line_end,
)
from proto_model.files.transfer import FileSettings, LimitError

LIMITS = FileSettings(max_row_bytes=400)
FIELDS = st.text(alphabet=st.sampled_from(list('ab"\n\r, \u00e9\U0001f600')), max_size=12)
ROWS = st.lists(st.lists(FIELDS, min_size=2, max_size=3), max_size=12)


def cut(data: bytes, last_end: Callable[[bytearray], int], n_bytes: int) -> list[bytes]:
    lines, blocks = LineCount(count_csv_lines), []
    for block in cut_blocks(io.BytesIO(data), last_end, LIMITS, n_bytes, lines.line_at):
        lines.add(block)
        blocks.append(bytes(block))
    return blocks


def written(rows: list[list[str]], line_end: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows(rows)
    return text.getvalue().encode()


@given(rows=ROWS, line_end=st.sampled_from(["\n", "\r\n"]), n_bytes=st.integers(1, 90))
def test_cuts_fall_between_records_wherever_blocks_end(
    rows: list[list[str]], line_end: str, n_bytes: int
) -> None:
    data = written(rows, line_end)

    blocks = cut(data, last_csv_end, n_bytes)

    assert b"".join(blocks) == data
    read = [row for block in blocks for row in csv.reader(io.StringIO(block.decode(), newline=""))]
    assert read == list(csv.reader(io.StringIO(data.decode(), newline="")))


@given(rows=ROWS)
def test_a_record_ends_once(rows: list[list[str]]) -> None:
    data = written(rows, "\n")

    # `csv` does not quote a CR, which then ends a record.
    assert len(csv_record_ends(data)) == len(list(csv.reader(io.StringIO(data.decode(), newline=""))))


@pytest.mark.parametrize(
    ("text", "n_records"),
    [
        (b'5" pipe,1\n6" pipe,2\n', 2),
        (b'a,5" pipe\nb,"x\ny"\n', 2),
        (b'"a""\n",1\n', 1),
        (b'"",1\n"""",2\n', 2),
        (b'"a" b "c\n,1\n', 2),
        (b"", 0),
    ],
)
def test_a_quote_within_an_unquoted_field_is_a_character(text: bytes, n_records: int) -> None:
    assert len(csv_record_ends(text)) == n_records


def test_a_byte_order_mark_is_left_out() -> None:
    assert cut(b"\xef\xbb\xbfa,b\n", last_csv_end, 99) == [b"a,b\n"]
    assert cut(b"", last_csv_end, 99) == []


def test_a_row_has_a_longest_length() -> None:
    for length, fits in ((399, True), (400, False)):
        data = b"a\n" + b"x" * length + b"\nb\n" * 300
        if fits:
            assert b"".join(cut(data, last_line_end, 10)) == data
        else:
            with pytest.raises(LimitError, match="longer than 400 bytes"):
                cut(data, last_line_end, 10)


@pytest.mark.parametrize("n_bytes", [1, 10, 90])
def test_a_nul_is_found_on_its_line_wherever_blocks_end(n_bytes: int) -> None:
    whole = b'a\n"x\ny",1\r\n' * 20
    for place in range(len(whole) + 1):
        text = whole[:place] + b"\0" + whole[place:]
        with pytest.raises(InputError, match=rf"^line {1 + whole.count(10, 0, place)}: a NUL"):
            cut(text, last_csv_end, n_bytes)
