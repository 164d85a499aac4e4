"""Records of files."""

import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.sources import BadRecord, SourceError, read_records

RECORDS = [{"a": 1, "b": None, "c": 'x,\n"y"'}, {"a": -2, "b": 0.5, "c": "ü"}]


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(RECORDS, indent=1)),
        ("a.json", "\n".join(map(json.dumps, RECORDS))),
        ("a.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, RECORDS))),
        ("a.csv", 'a,b,c\n1,,"x,\n""y"""\n\n-2,0.5,ü\n'),
    ],
)
def test_every_form_gives_the_same_records(name, content, tmp_path):
    assert list(read_records(written(tmp_path, name, content))) == RECORDS


def test_an_object_of_several_lines_is_one_record(tmp_path):
    assert list(read_records(written(tmp_path, "a.json", json.dumps(RECORDS[0], indent=2)))) == RECORDS[:1]


def test_parquet_gives_records_as_json_has_them(tmp_path):
    day = datetime.date(2024, 3, 1)
    table = pa.table(
        {
            "d": [day, None],
            "t": [datetime.datetime(2024, 3, 1, 12), None],
            "n": [Decimal("1.5"), None],
            "x": [float("nan"), 1.0],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")

    assert list(read_records(tmp_path / "a.parquet")) == [
        {"d": "2024-03-01", "t": "2024-03-01T12:00:00", "n": 1.5, "x": None},
        {"d": None, "t": None, "n": None, "x": 1.0},
    ]


def test_cells_have_the_type_that_a_schema_says_or_that_their_column_shows(tmp_path):
    path = written(tmp_path, "a.csv", "zip,n,x,t,m\n007,1,1,true,1\n123,2,.5,False,x\n")

    assert list(read_records(path)) == [
        {"zip": "007", "n": 1, "x": 1.0, "t": True, "m": "1"},
        {"zip": "123", "n": 2, "x": 0.5, "t": False, "m": "x"},
    ]
    typed = {"zip": "long", "n": "string", "x": "double", "t": "boolean", "m": "int"}
    assert list(read_records(path, types=typed)) == [
        {"zip": 7, "n": "1", "x": 1.0, "t": True, "m": 1},
        {"zip": 123, "n": "2", "x": 0.5, "t": False, "m": "x"},
    ]


def test_lines_that_are_no_records_stand_in_their_place(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"a": 1}\n{"a"\n{"a": 2}\n')
    table = written(tmp_path, "a.csv", "a,b\n1,2\n1\n")

    assert list(read_records(path)) == [{"a": 1}, BadRecord("the line is no JSON"), {"a": 2}]
    assert list(read_records(table))[1] == BadRecord("the row has 1 cells, 2 columns are named")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.json", b"\xff\xff", "no text in UTF-8"),
        ("a.csv", "", "no line of column names"),
        ("a.csv", "a,a\n1,2\n", "two columns 'a'"),
        ("a.csv", 'a,b\n1,"x"y\n', "line 2"),
        ("a.parquet", "hello", "no file of Parquet"),
        ("a.xlsx", "hello", "data of the kind 'xlsx'"),
    ],
)
def test_what_cannot_be_read_is_told(name, content, said, tmp_path):
    with pytest.raises(SourceError, match=said):
        list(read_records(written(tmp_path, name, content)))


@given(st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=3), max_size=5))
def test_json_lines_are_read_as_they_were_written(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("data") / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))

    assert list(read_records(path)) == records
