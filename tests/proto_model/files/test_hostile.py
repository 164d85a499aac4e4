"""Files that are not whole, rows that are not text, and shapes that take long."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from proto_model.errors import InputError
from proto_model.files import Task, score
from proto_model.files.formats.blocks import csv_record_ends
from proto_model.files.stream import Spool
from proto_model.files.transfer import FileSettings, LimitError
from proto_model.parameters import Parameters
from tests.proto_model.files.conftest import SumModel

LAYOUTS = ("arrow", "arrows", "parquet")


def people(n_rows: int) -> pa.Table:
    return pa.table({"age": list(range(n_rows)), "job": ["clerk", "pilot"] * (n_rows // 2)})


def written(layout: str, n_rows: int = 8, n_batch: int = 2) -> bytes:
    sink, table = io.BytesIO(), people(n_rows)
    if layout == "parquet":
        pq.write_table(table, sink, row_group_size=n_batch)
        return sink.getvalue()
    with (pa.ipc.new_file if layout == "arrow" else pa.ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=n_batch)
    return sink.getvalue()


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def marked(scorer: Any, data: bytes, name: str, **params: Any) -> list[str | None]:
    out, scored = scorer(data, name, on_bad_row="mark", output_format="jsonl", **params)
    errors = [row["error"] for row in lines(out)]
    assert scored.n_rejected == sum(error is not None for error in errors)
    return errors


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b"[" * 300 + b"]" * 300, "nested too deeply"),
        (b"[" * 3000 + b"]" * 3000, "recursion"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "recursion"),
    ],
)
def test_a_value_that_cannot_be_copied_is_a_fault_of_its_row(scorer, value: bytes, reason: str) -> None:
    data = b'{"age":30,"id":1}\n{"age":31,"id":' + value + b'}\n{"age":32,"id":"\xc3\xa9"}\n'

    errors = marked(scorer, data, "x.jsonl", passthrough=["id"])

    assert [error is None for error in errors] == [True, False, True]
    assert reason in str(errors[1])
    with pytest.raises(InputError, match="line 2, "):
        scorer(data, "x.jsonl", passthrough=["id"])


def test_a_verdict_on_a_line_does_not_depend_on_the_other_lines(scorer) -> None:
    ignored, bad = b'{"age":30,"other":"\xff"}\n', b'{"age":"x"}\n'

    for data in (ignored, ignored + bad):
        assert "can't decode" in str(marked(scorer, data, "x.jsonl")[0])


@pytest.mark.parametrize(
    "number", ["NaN", "1e999", "12345678901234567890123", "[NaN, 12345678901234567890123]"]
)
def test_numbers_that_json_has_no_room_for_are_copied(scorer, number: str) -> None:
    data = f'{{"age":30,"id":{number}}}\n'.encode()

    assert marked(scorer, data, "x.jsonl", passthrough=["id"]) == [None]


def test_half_a_surrogate_pair_in_a_feature_is_named(scorer) -> None:
    [error] = marked(scorer, b'{"age":"\\ud800"}\n', "x.jsonl")

    assert '"\\ud800"' in str(error)


def test_two_objects_on_a_line_are_never_taken_for_two_lines(scorer) -> None:
    data = b'{"age":1}{"age":2}\n{"age":\n3}\n'

    assert [error is None for error in marked(scorer, data, "x.jsonl")] == [False, False, False]


def test_a_cr_alone_ends_a_row_of_csv(scorer) -> None:
    data = b"age,job\n1,clerk\r2,pilot\rx,clerk\r4,\r"

    assert [error is None for error in marked(scorer, data, "x.csv")] == [True, True, False, True]
    with pytest.raises(InputError, match="line 4, column 'age'"):
        scorer(data, "x.csv")


def test_rows_that_end_in_cr_alone_are_cut_into_blocks(scorer) -> None:
    data = b"age,job\n" + b"1,clerk\r" * 2000
    out, scored = scorer(data, "x.csv", FileSettings(max_row_bytes=1000), output_format="csv")

    assert scored.n_rows == 2000
    assert out.count(b"\n") == 2001


def test_a_row_of_the_wrong_length_that_is_no_text_is_marked(scorer) -> None:
    data = b"age,job\n1,clerk\n2,\xff,\xff\n3,\xff\n4,pilot\n"

    errors = marked(scorer, data, "x.csv")

    assert [error is None for error in errors] == [True, False, False, True]
    assert errors[1] == "3 values in the row, 2 expected"
    assert "UTF-8 text expected" in str(errors[2])


@pytest.mark.parametrize("tail", [b'5,"open', b'5,"open\n6,clerk\n', b'5,"', b'5,"a""\n6,clerk\n'])
def test_csv_that_ends_within_quotes_is_not_whole(scorer, tail: bytes) -> None:
    with pytest.raises(InputError, match="line 4: the file ends before the quote"):
        scorer(b'age,job\n3,clerk\n4,"pi""lot"\n' + tail, "x.csv")


@pytest.mark.parametrize(
    "head", [b"age", b"age,job", b'"age"', b"\xef\xbb\xbfage,job", b"\r\n\nage", b"age\r"]
)
def test_a_csv_header_without_a_line_end_is_a_file_without_rows(scorer, head: bytes) -> None:
    for output in ("csv", "jsonl", "parquet", "arrow", "arrows", "csv.gz"):
        out, scored = scorer(head, "x.csv", output_format=output, passthrough=["age"])
        assert scored.n_rows == 0
        assert output != "csv" or out == b"age,prediction,probability,probability_no,probability_yes\n"


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x"])
@pytest.mark.parametrize("place", [0, 1, 8, 4095, 4096, 70_000, -2, -1])
def test_a_nul_ends_the_job_wherever_it_stands_in_text(scorer, name: str, place: int) -> None:
    row = b'{"age":1}\n' if name == "x.jsonl" else b"1,clerk\n"
    text = (b"" if name == "x.jsonl" else b"age,job\n") + row * 9000
    place %= len(text)
    damaged = text[:place] + b"\0" + text[place + 1 :]

    for params in ({}, {"on_bad_row": "mark"}):
        with pytest.raises(InputError) as caught:
            scorer(damaged, name, **params)
        told = str(caught.value)
        at_head = place < text.index(b"\n") and "neither text nor of a known format" in told
        assert at_head or f"line {1 + text.count(10, 0, place)}: a NUL character" in told


def test_a_byte_order_mark_is_left_out_only_at_the_beginning_of_a_file(scorer) -> None:
    mark = "\ufeff"
    text = f"{mark}{mark}job,age\n{mark}clerk,1\n{mark}x,2\n"

    out, _ = scorer(text.encode(), "x.csv", passthrough=[f"{mark}job"], output_format="jsonl")

    assert [row[f"{mark}job"] for row in lines(out)] == [f"{mark}clerk", f"{mark}x"]


NESTED = {
    "list": pa.array([[1]]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    "view": pa.array(["a"], pa.string_view()),
    "union": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
    "twice": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
    "nothing": pa.array([{}], pa.struct([])),
    "interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
}


@pytest.mark.parametrize(
    ("kind", "refusing"),
    [
        *((kind, {"csv"}) for kind in ("list", "struct", "map", "view")),
        *((kind, {"csv", "parquet"}) for kind in ("union", "nothing", "interval")),
        ("twice", {"csv", "jsonl"}),
    ],
)
def test_a_column_that_the_output_cannot_hold_is_named_before_the_work(
    scorer, kind: str, refusing: set[str]
) -> None:
    table, sink = pa.table({"age": [1], "note": NESTED[kind]}), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    cut_short = data[:-80]  # of which the end would be missed, if it were read first

    for output in ("csv", "jsonl", "parquet", "arrow", "arrows"):
        if output in refusing:
            with pytest.raises(
                InputError, match=r"^Column 'note' is of type .* cannot be written to"
            ) as caught:
                scorer(cut_short, "x.arrows", passthrough=["note"], output_format=output)
            assert "choose another output_format: " in str(caught.value)
        else:
            assert scorer(data, "x.arrows", passthrough=["note"], output_format=output)[1].n_rows == 1


def test_bytes_that_csv_cannot_hold_are_no_fault_of_the_input(scorer) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"age": [1], "note": [b"\xff"]}), sink)

    with pytest.raises(
        InputError, match=r"^Column 'note' has bytes that are not UTF-8 text, so it cannot be"
    ):
        scorer(sink.getvalue(), "x", passthrough=["note"], output_format="csv")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_files_one_after_the_other_are_not_taken_for_one(scorer, layout: str) -> None:
    for first, second in ((8, 8), (8, 2), (2, 8), (0, 8), (8, 0)):
        data = written(layout, first) + written(layout, second)
        with pytest.raises(InputError, match="one after the other"):
            scorer(data, f"x.{layout}")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_that_is_cut_anywhere_is_an_error(scorer, layout: str) -> None:
    data = written(layout)

    for n_bytes in range(1, len(data)):
        with pytest.raises((InputError, LimitError)):
            scorer(data[:n_bytes], f"x.{layout}", input_format=layout)
    assert scorer(data, f"x.{layout}")[1].n_rows == 8


def test_a_stream_without_its_end_mark_is_not_whole(scorer) -> None:
    with pytest.raises(InputError, match="no end mark"):
        scorer(written("arrows")[:-8], "x.arrows")

    assert scorer(written("arrows") + b"\0" * 512, "x.arrows")[1].n_rows == 8


def test_a_footer_that_lists_other_batches_is_damaged(scorer) -> None:
    shorter, longer = written("arrow", 4), written("arrow", 8)
    n_footer = int.from_bytes(shorter[-10:-6], "little")
    batches = longer[: -10 - int.from_bytes(longer[-10:-6], "little")]

    with pytest.raises(InputError, match="more or less than the 4 batches"):
        scorer(batches + shorter[-10 - n_footer :], "x.arrow")


def test_compressed_files_one_after_the_other_are_read_as_one(scorer) -> None:
    parts = [b"age\n1\n", b"2\n", b"", b"3\n4"]

    for pack in (gzip.compress, lambda data: pa.Codec("zstd").compress(data, asbytes=True)):
        assert scorer(b"".join(map(pack, parts)), "x.csv")[1].n_rows == 4
        for tail in (b"garbage", b"\0" * 512):
            with pytest.raises(InputError, match="damaged or cut"):
                scorer(b"".join(map(pack, parts)) + tail, "x.csv")


def test_a_text_of_parquet_that_is_no_text_is_an_error_of_the_file(scorer) -> None:
    data = written("parquet").replace(b"clerk", b"cl\xf1rk")

    with pytest.raises(InputError, match="can't decode byte 0xf1"):
        scorer(data, "x.parquet")


def test_no_damage_to_a_footer_ends_the_process(tmp_path: Path) -> None:
    sink = io.BytesIO()
    notes = [{"x": row, "y": "q"} for row in range(4)]
    pq.write_table(pa.table({"age": [1, 2, 3, 4], "note": notes}), sink, row_group_size=2)
    data = sink.getvalue()
    (tmp_path / "whole.parquet").write_bytes(data)
    n_footer = int.from_bytes(data[-8:-4], "little")

    done = subprocess.run(
        [sys.executable, "-c", _DAMAGE, str(tmp_path), str(n_footer)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > n_footer // 2


_DAMAGE = """
import sys
from pathlib import Path
from proto_model.errors import ProtoModelError
from proto_model.files import score_file
from proto_model.parameters import Parameters
from tests.proto_model.files.conftest import SumModel

folder, n_footer, n_errors = Path(sys.argv[1]), int(sys.argv[2]), 0
whole = (folder / "whole.parquet").read_bytes()
for place in range(len(whole) - 8 - n_footer, len(whole) - 8):
    damaged = bytearray(whole)
    damaged[place] ^= 3 << place % 3
    (folder / "x.parquet").write_bytes(damaged)
    try:
        score_file(folder / "x.parquet", folder / "out.arrow", SumModel(), Parameters(passthrough=("note",)))
    except ProtoModelError:
        n_errors += 1
print(n_errors)
"""


def test_texts_in_any_encoding_of_parquet_are_read(scorer) -> None:
    for encoding in ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        sink = io.BytesIO()
        pq.write_table(people(8), sink, use_dictionary=False, column_encoding={"job": encoding})
        out, _ = scorer(sink.getvalue(), "x.parquet", passthrough=["job"], output_format="jsonl")
        assert [row["job"] for row in lines(out)] == ["clerk", "pilot"] * 4


@pytest.mark.parametrize("max_batch_bytes", [1 << 18, 1 << 20, 1 << 28])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_rows_of_parquet_do_not_depend_on_how_many_are_read_at_once(
    scorer, max_batch_bytes: int, use_dictionary: bool
) -> None:
    notes = [None if row % 7 == 0 else f"{row % 90} " * (row % 40) for row in range(3000)]
    table = pa.table({"age": [row % 80 for row in range(3000)], "note": notes, "tags": [[n] for n in notes]})
    sink = io.BytesIO()
    options = {"use_dictionary": use_dictionary, "data_page_size": 500, "write_batch_size": 10}
    pq.write_table(table, sink, row_group_size=100, **options)
    settings = FileSettings(max_batch_bytes=max_batch_bytes)

    out, _ = scorer(sink.getvalue(), "x", settings, passthrough=["note", "tags"])

    read = pq.read_table(io.BytesIO(out))
    assert read.select(["note", "tags"]).to_pylist() == table.select(["note", "tags"]).to_pylist()
    assert read.schema.field("note").type == pa.string()
    assert read.schema.field("tags").type == pa.list_(pa.string())


def checks_within(data: bytes, name: str, **params: Any) -> int:
    """How often the time is looked at while a file is scored, which ends as soon as the time is up."""
    n_checks = 0

    def run(check: Callable[[], None]) -> None:
        with io.BytesIO(data) as source, io.BytesIO() as file:
            task = Task(SumModel(), Parameters.from_params(params), FileSettings(n_workers=1))
            score(source, name, Spool(file, 1 << 30), task, check=check)

    def count() -> None:
        nonlocal n_checks
        n_checks += 1

    def stop() -> None:
        count()
        if n_checks > n_all // 2:
            raise LimitError("time is up")

    run(count)
    n_all, n_checks = n_checks, 0
    with pytest.raises(LimitError, match="time is up"):
        run(stop)
    return n_all


@pytest.mark.parametrize(
    ("data", "name", "params"),
    [
        (b'{"age":"x"}\n' * 9000, "x.jsonl", {"on_bad_row": "mark"}),
        (b'{"age":1,"id":[]}\n' * 9000, "x.jsonl", {"passthrough": ["id"]}),
        (b"age,job\n" + b"x,y\n" * 9000, "x.csv", {"on_bad_row": "mark"}),
        (b"age,job\n" + b"1,\xff\n" * 9000, "x.csv", {"on_bad_row": "mark"}),
        (written("parquet", 40, 1), "x.parquet", {}),
        (written("arrows", 40, 1), "x.arrows", {}),
    ],
)
def test_the_time_is_looked_at_within_a_block(data: bytes, name: str, params: dict[str, Any]) -> None:
    assert checks_within(data, name, **params) > 30


def test_quotes_within_a_field_are_characters_wherever_they_stand() -> None:
    """Each shape of quotes once: what opens, closes, escapes, and is only a character."""
    alphabet = 'a",\n'
    for number in range(4**7):
        text = "".join(alphabet[number >> 2 * place & 3] for place in range(7)).encode()
        assert csv_record_ends(text).tolist() == ends_one_by_one(text)


def ends_one_by_one(text: bytes) -> list[int]:
    """Positions of the line ends outside quotes, character by character."""
    ends, inside, at = [], False, 0
    while at < len(text):
        letter = text[at : at + 1]
        if letter == b'"' and inside and text[at + 1 : at + 2] == b'"':
            at += 1
        elif letter == b'"' and inside:
            inside = False
        elif letter == b'"' and (at == 0 or text[at - 1 : at] in (b",", b"\n")):
            inside = True
        elif letter == b"\n" and not inside:
            ends.append(at)
        at += 1
    return ends
