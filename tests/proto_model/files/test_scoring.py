from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.files import FORMAT_NAMES
from proto_model.files.transfer import FileSettings, LimitError

CSV = b"""id,age,size,job,owner,extra
a,30,0.5,clerk,true,x
b,41,,pilot,false,y
c,7,1.25,diver,,z
"""
YES = [0.315, 0.42, 0.0825]
TABLE = pa.table(
    {
        "id": ["a", "b", "c"],
        "age": [30, 41, 7],
        "size": [0.5, None, 1.25],
        "job": ["clerk", "pilot", "diver"],
        "owner": [True, False, None],
        "extra": ["x", "y", "z"],
    }
)


def as_bytes(table: pa.Table, layout: str) -> bytes:
    sink = pa.BufferOutputStream()
    if layout == "csv":
        pa.csv.write_csv(table, sink)
    elif layout == "jsonl":
        sink.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
    elif layout == "parquet":
        pq.write_table(table, sink, write_page_checksum=True, compression="none")
    else:
        new = pa.ipc.new_file if layout == "arrow" else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def compressed(data: bytes, codec: str) -> bytes:
    if codec == "gz":
        return gzip.compress(data)
    if codec == "zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    return data


def rows_of(data: bytes, name: str) -> list[dict[str, Any]]:
    """Rows of an output; CSV values as text."""
    layout, _, codec = name.partition(".")
    if codec:
        data = pa.CompressedInputStream(pa.BufferReader(data), {"gz": "gzip", "zst": "zstd"}[codec]).read()
    if layout == "csv":
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    if layout == "jsonl":
        return [json.loads(line) for line in data.splitlines()]
    if layout == "parquet":
        return pq.read_table(pa.BufferReader(data)).to_pylist()
    return (pa.ipc.open_file if layout == "arrow" else pa.ipc.open_stream)(data).read_all().to_pylist()


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_goes_in_and_comes_out(scorer, name: str) -> None:
    layout, _, codec = name.partition(".")

    out, scored = scorer(compressed(as_bytes(TABLE, layout), codec), passthrough=["id"])

    assert str(scored.input_format) == str(scored.output_format) == name
    assert (scored.n_rows, scored.n_rejected) == (3, 0)
    rows = rows_of(out, name)
    assert list(rows[0]) == ["id", "prediction", "probability", "probability_no", "probability_yes"]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["prediction"] for row in rows] == ["no"] * 3
    assert [float(row["probability_yes"]) for row in rows] == pytest.approx(YES, abs=1e-12)


def test_a_compressed_parquet_file_is_unpacked_first(scorer) -> None:
    out, scored = scorer(gzip.compress(as_bytes(TABLE, "parquet")))

    assert (str(scored.input_format), len(rows_of(out, "parquet"))) == ("parquet", 3)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet", "arrow", "arrows"])
def test_no_rows_give_a_valid_empty_file(scorer, layout: str, name: str) -> None:
    out, scored = scorer(
        as_bytes(TABLE.slice(0, 0), layout), "empty.jsonl", output_format=name, passthrough=["id"]
    )

    assert scored.n_rows == 0
    assert rows_of(out, name) == []
    if name == "csv":
        assert out == b"id,prediction,probability,probability_no,probability_yes\n"


def test_columns_are_found_by_name_in_any_order(scorer) -> None:
    expected, _ = scorer(as_bytes(TABLE, "parquet"))
    for order in (["owner", "job", "size", "age"], ["extra", "size", "job", "id", "age", "owner"]):
        for layout in ("csv", "jsonl", "parquet", "arrows"):
            out, _ = scorer(as_bytes(TABLE.select(order), layout), output_format="parquet")
            assert rows_of(out, "parquet") == rows_of(expected, "parquet")


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet", "arrow", "arrows"])
def test_copied_columns_survive_every_output(scorer, layout: str) -> None:
    table = TABLE.append_column("note", pa.array(['say "a, b"\n', None, "\u00e9\U0001f600"]))
    for name in FORMAT_NAMES:
        out, _ = scorer(as_bytes(table, layout), output_format=name, passthrough=["note", "age"])
        rows = rows_of(out, name)
        assert [row["note"] or None for row in rows] == table["note"].to_pylist()
        assert [int(row["age"]) for row in rows] == [30, 41, 7]


def test_copied_columns_keep_their_type_where_they_have_one(scorer) -> None:
    line = b'{"age": 1, "size": 1, "job": "clerk", "owner": true, "tags": ["a", {"b": null}], "n": 7}\n'

    out, _ = scorer(line, passthrough=["tags", "n", "owner"], output_format="jsonl")
    assert [rows_of(out, "jsonl")[0][name] for name in ("tags", "n", "owner")] == [
        ["a", {"b": None}],
        7,
        True,
    ]

    out, _ = scorer(line, passthrough=["tags", "n"], output_format="csv")
    assert [rows_of(out, "csv")[0][name] for name in ("tags", "n")] == ['["a",{"b":null}]', "7"]

    dictionary = TABLE.set_column(0, "id", TABLE["id"].dictionary_encode())
    for name in ("parquet", "arrow", "csv"):
        out, _ = scorer(as_bytes(dictionary, "parquet"), passthrough=["id", "age"], output_format=name)
        assert [row["id"] for row in rows_of(out, name)] == ["a", "b", "c"]


@pytest.mark.parametrize("layout", ["csv", "parquet", "arrow", "arrows"])
def test_a_missing_column_is_named(scorer, layout: str) -> None:
    with pytest.raises(InputError, match=r"missing in the file: 'age'\. It has 'id', 'size'"):
        scorer(as_bytes(TABLE.drop_columns("age"), layout))
    with pytest.raises(InputError, match="missing in the file: 'ident'"):
        scorer(as_bytes(TABLE, layout), passthrough=["ident"])

    _, scored = scorer(as_bytes(TABLE.drop_columns("size"), layout))
    assert scored.notes == (
        "column 'size' is not in the file; taken as missing in every row",
        "2 columns are no features; left out: 'id', 'extra'",
    )


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet", "arrow", "arrows"])
def test_columns_that_are_no_features_are_left_out_with_a_note(scorer, layout: str) -> None:
    _, scored = scorer(as_bytes(TABLE, layout), passthrough=["id"])
    assert scored.notes == ("a column is not a feature; left out: 'extra'",)

    _, scored = scorer(as_bytes(TABLE, layout), passthrough=["id", "extra"])
    assert scored.notes == ()


def test_a_column_that_stands_there_twice_is_named(scorer) -> None:
    with pytest.raises(InputError, match="more than once in the file: 'age'"):
        scorer(b"age,size, age\n1,2,3\n")
    twice = pa.table([pa.array([1]), pa.array([1.0]), pa.array([2])], names=["age", "size", "age"])
    with pytest.raises(InputError, match="more than once in the file: 'age'"):
        scorer(as_bytes(twice, "arrows"))
    with pytest.raises(InputError, match="the key 'age' appears twice"):
        scorer(b'{"age": 1, "age": 2}\n')
    scorer(b"age,x,x\n1,2,3\n")


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("age", [True], "bool, a whole number expected, such as 40"),
        ("job", [1], 'int64, a string expected, such as "clerk"'),
        ("owner", [b"x"], "binary, true or false expected"),
        ("size", [[1.0]], "list<"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(scorer, column: str, values: list[Any], kind: str) -> None:
    table = TABLE.slice(0, 1)
    table = table.set_column(table.column_names.index(column), column, pa.array(values))
    for layout in ("parquet", "arrow", "arrows"):
        with pytest.raises(InputError, match=f"Column '{column}': its type is {kind}"):
            scorer(as_bytes(table, layout))


def test_numbers_of_any_width_and_coded_text_are_taken(scorer) -> None:
    expected = rows_of(scorer(as_bytes(TABLE, "parquet"))[0], "parquet")
    odd = pa.table(
        {
            "age": TABLE["age"].cast(pa.int8()),
            "size": TABLE["size"].cast(pa.float32()),
            "job": TABLE["job"].dictionary_encode(),
            "owner": TABLE["owner"].cast(pa.uint8()),
        }
    )
    large = TABLE.set_column(3, "job", TABLE["job"].cast(pa.large_string()))
    for table in (odd, large):
        for layout in ("parquet", "arrow", "arrows"):
            assert rows_of(scorer(as_bytes(table, layout), output_format="parquet")[0], "parquet") == expected


BAD_CSV = b"""id,age,size,job,owner
a,30,0.5,clerk,true

b,4.5,abc,pilot,maybe
c,7
d,,1,"cl
erk",false
e,1,inf,,1
f,2,1e39,,0
g,3,\xff,,
h,4,5,clerk,false
"""
BAD_REASONS = [
    None,
    "column 'size': the string \"abc\" given, a number expected, such as 0.5; "
    "column 'age': 4.5 given, a whole number expected, such as 40; "
    "column 'owner': the string \"maybe\" given, true or false expected",
    "2 values in the row, 5 expected",
    "column 'age': no value given, a whole number expected, such as 40",
    "column 'size': inf given, a number between -3.4e+38 and 3.4e+38 expected",
    "column 'size': 1e+39 given, a number between -3.4e+38 and 3.4e+38 expected",
    "column 'size': bytes b'\\xff' given, UTF-8 text expected",
    None,
]


def test_bad_rows_keep_their_place_when_they_are_marked(scorer) -> None:
    out, scored = scorer(BAD_CSV, on_bad_row="mark", passthrough=["id"])

    rows = rows_of(out, "csv")
    assert [row["error"] or None for row in rows] == BAD_REASONS
    assert [bool(row["prediction"]) for row in rows] == [reason is None for reason in BAD_REASONS]
    assert [row["id"] for row in rows] == ["a", "b", "", "d", "e", "f", "g", "h"]
    assert (scored.n_rows, scored.n_rejected) == (8, 6)


@pytest.mark.parametrize("max_row_bytes", [60, 1 << 20])
@pytest.mark.parametrize(
    ("line", "place"),
    [(4, "line 4, column 'size': the string"), (5, "line 5, 2 values"), (6, "line 6, column 'age'")],
)
def test_a_bad_row_fails_the_file_and_is_named_by_its_line(
    scorer, line: int, place: str, max_row_bytes: int
) -> None:
    lines = BAD_CSV.splitlines(keepends=True)
    data = b"".join([*lines[:3], *lines[line - 1 :]])
    place = place.replace(f"line {line}", "line 4")

    with pytest.raises(InputError, match=place):
        scorer(data, settings=FileSettings(max_row_bytes=max_row_bytes))


def test_blank_lines_of_json_that_fill_blocks_are_counted(scorer) -> None:
    data = b'{"size": 1, "age": 2}\n' + 500 * b"\n" + b'{"size": 1, "age": "old"}\n'

    with pytest.raises(InputError, match="line 502, column 'age'"):
        scorer(data, "people.jsonl", settings=FileSettings(max_row_bytes=64))


def test_bad_lines_of_json_are_named(scorer) -> None:
    good = b'{"age": 1, "size": 1, "job": "clerk", "owner": true}\n'
    for bad, reason in [
        (b"{age: 1}", "not a JSON object"),
        (b"[1]", "an object expected, list given"),
        (b'{"age": 1} {"age": 2}', "not a JSON object"),
        (b'{"age": "1.5"}', "column 'age': 1.5 given, a whole number expected, such as 40"),
        (b'{"age": "old"}', "column 'age': the string \"old\" given, a whole number expected, such as 40"),
        (b'{"age": 1.5}', "column 'age': 1.5 given, a whole number expected"),
        (b'{"age": true}', "column 'age': the boolean true given"),
        (b'{"age": NaN}', "column 'age': no value given"),
        (b'{"age": 1, "size": 1e999}', "column 'size': inf given"),
        (b'{"age": 1, "job": 5}', "column 'job': 5 given, a string expected, such as \"clerk\""),
        (b'{"age": 1, "owner": "yes"}', "column 'owner': the string \"yes\" given, true or false expected"),
        (b'{"age": 1, "size": {"x": 1}}', "column 'size'"),
        (b'{"size": 1}', "column 'age': no value given"),
        (b'{"age": 1' + b"0" * 400 + b"}", "column 'age'"),
        (b'{"age": "\xff"}', "not a JSON object"),
    ]:
        with pytest.raises(InputError) as caught:
            scorer(good + b"\n" + bad + b"\n" + good)
        assert "line 3, " in str(caught.value)
        assert reason in str(caught.value)

        out, scored = scorer(good + b"\n" + bad + b"\n" + good, on_bad_row="mark")
        rows = rows_of(out, "jsonl")
        assert [row["prediction"] is None for row in rows] == [False, True, False]
        assert reason in rows[1]["error"]
        assert scored.n_rejected == 1


def test_bad_values_of_typed_files_are_named_by_their_row(scorer) -> None:
    table = pa.table(
        {"age": [1.0, 2.0, 2.5, None], "size": [1.0, float("inf"), 1.0, float("nan")], "job": [None] * 4}
    )
    for layout in ("parquet", "arrow", "arrows"):
        with pytest.raises(InputError, match="row 2, column 'size': inf given"):
            scorer(as_bytes(table, layout))
        out, scored = scorer(as_bytes(table, layout), on_bad_row="mark", output_format="jsonl")
        assert [row["error"] is None for row in rows_of(out, "jsonl")] == [True, False, False, False]
        assert scored.n_rejected == 3


@pytest.mark.parametrize(
    "text",
    [
        b"age,size\r\n30, 0.5 \r\n\r\n41,NA",
        b"\xef\xbb\xbfage,size\n30,0.5\n41,\n\n\n",
        b' age ,"size"\n"30",".5"\n+41,null\n',
        b"\n\nage,size\n3e1,5e-1\n41.0,NaN\n",
    ],
)
def test_spellings_of_the_same_numbers(scorer, text: bytes) -> None:
    rows = rows_of(scorer(text)[0], "csv")

    assert [float(row["probability_yes"]) for row in rows] == pytest.approx([0.305, 0.41])


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "x.csv", "is empty"),
        (b"\n\n", "x.csv", "is empty"),
        (b"age,siz\xe9\n1,2\n", "x.csv", "header of the CSV file is not UTF-8"),
        (b"age,size\r1,2\r", "x.csv", "CR alone"),
        ("age,size\n1,2\n".encode("utf-16"), "x.csv", "UTF-16"),
        (b"", "x.parquet", "Parquet file has no footer"),
        (as_bytes(TABLE, "parquet")[:-10], "x", "Parquet file has no footer"),
        (as_bytes(TABLE, "parquet")[:50], "x", "Parquet file has no footer"),
        (as_bytes(TABLE, "arrow")[:-100], "x", "Cannot read the file as arrow|has no end"),
        (as_bytes(TABLE, "arrow")[:-6], "x", "has no end"),
        (as_bytes(TABLE, "arrows")[:600], "x", "Cannot read the file as arrows"),
        (gzip.compress(CSV)[:-9], "x", "damaged or cut"),
        (gzip.compress(CSV)[:-4] + b"\0\0\0\0", "x", "damaged or cut"),
        (compressed(CSV, "zst")[:-3], "x", "damaged or cut"),
    ],
)
def test_a_damaged_file_is_an_error(scorer, data: bytes, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        scorer(data, name)


def test_a_flipped_bit_of_a_parquet_page_with_checksum_is_an_error(scorer) -> None:
    data = bytearray(as_bytes(TABLE, "parquet"))
    at = data.index(np.array([0.5]).tobytes())
    data[at + 3] ^= 4

    with pytest.raises(InputError, match="Cannot read the file as parquet"):
        scorer(bytes(data))


@pytest.mark.parametrize(
    ("limit", "data", "reason"),
    [
        ({"max_rows": 2}, CSV, "MAX_ROWS"),
        ({"max_rows": 2}, as_bytes(TABLE, "parquet"), "The limit is 2"),
        ({"max_columns": 5}, as_bytes(TABLE, "arrows"), "The limit is 5"),
        ({"max_columns": 5}, as_bytes(TABLE, "parquet"), "The limit is 5"),
        ({"max_row_bytes": 20}, CSV, "MAX_ROW_BYTES"),
        ({"max_decompressed_bytes": 50}, gzip.compress(CSV), "MAX_DECOMPRESSED_BYTES"),
        ({"max_decompressed_bytes": 50}, as_bytes(TABLE, "parquet"), "MAX_DECOMPRESSED_BYTES"),
        ({"max_output_bytes": 50}, CSV, "MAX_OUTPUT_BYTES"),
        ({"max_batch_bytes": 200}, as_bytes(TABLE, "arrow"), "MAX_BATCH_BYTES"),
    ],
)
def test_limits_hold(scorer, limit: dict[str, int], data: bytes, reason: str) -> None:
    with pytest.raises((LimitError, InputError), match=reason):
        scorer(data, settings=dataclasses.replace(FileSettings(), **limit))


def test_a_gzip_bomb_is_stopped_early(scorer) -> None:
    bomb = gzip.compress(b"age,size\n" + b"1,2\n" * 5_000_000)

    with pytest.raises(LimitError, match="MAX_DECOMPRESSED_BYTES"):
        scorer(bomb, settings=FileSettings(max_decompressed_bytes=1 << 20))


def test_one_long_text_repeated_does_not_fill_the_memory(scorer) -> None:
    column = pa.array([0] * 5000, pa.int32())
    text = pa.DictionaryArray.from_arrays(column, pa.array(["x" * 100_000]))
    table = pa.table({"age": [1] * 5000, "job": text, "note": text})
    data = as_bytes(table, "parquet")
    assert len(data) < 300_000

    assert scorer(data)[1].n_rows == 5000
    with pytest.raises(LimitError, match="Column 'note'"):
        scorer(data, passthrough=["note"])


def test_explanations_stand_beside_their_rows(scorer) -> None:
    def explain(matrix: np.ndarray) -> list[dict[str, Any]]:
        return [{"sum": float(np.nansum(row))} for row in matrix]

    for name in ("jsonl", "csv", "parquet"):
        out, _ = scorer(
            b"age,size\n1,2\nx,2\n3,4\n",
            explain_with=explain,
            explain=True,
            on_bad_row="mark",
            output_format=name,
        )
        given = [row["explanation"] for row in rows_of(out, name)]
        if name != "jsonl":
            given = [json.loads(text) if text else None for text in given]
        assert given == [{"sum": 3.0}, None, {"sum": 7.0}]


def test_a_copied_column_must_not_be_called_like_ours(scorer) -> None:
    with pytest.raises(InputError, match=r"passthrough names \['prediction'\]"):
        scorer(b"age,prediction\n1,2\n", passthrough=["prediction"])


def test_a_format_that_is_given_is_held_to(scorer) -> None:
    with pytest.raises(InputError, match=r"input_format says csv\.gz, but the file is not compressed"):
        scorer(CSV, input_format="csv.gz")
    with pytest.raises(InputError, match="input_format says csv, but the file is gzip compressed"):
        scorer(gzip.compress(CSV), input_format="csv")
    assert scorer(CSV, input_format="csv")[1].n_rows == 3


VALUES = st.one_of(st.none(), st.floats(-50, 50, allow_nan=False))
NOTES = st.text(alphabet=st.sampled_from(list('ab"\n\r, \u00e9\U0001f600')), max_size=8)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.tuples(NOTES, st.integers(0, 90), VALUES), max_size=30),
    order=st.permutations([0, 1, 2]),
    max_row_bytes=st.integers(70, 400),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_rows_come_out_in_order_wherever_the_file_is_cut(
    scorer, rows, order, max_row_bytes, line_end
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([["note", "age", "size"][i] for i in order])
    writer.writerows([[row[i] for i in order] for row in rows])

    limits = FileSettings(max_row_bytes=max_row_bytes, n_workers=3)
    out, scored = scorer(text.getvalue().encode(), settings=limits, passthrough=["note"])

    assert scored.n_rows == len(rows)
    found = rows_of(out, "csv")
    assert [row["note"] for row in found] == [row[0] for row in rows]
    expected = [min(max((age + (size or 0)) / 100, 0), 1) for _, age, size in rows]
    assert [float(row["probability_yes"]) for row in found] == pytest.approx(expected, abs=1e-12)
