import csv
import io

import pytest

from proto_model.errors import InputError
from proto_model.invocation.rows import (
    numbered,
    read_records,
    record_of_tensors,
    spread_records,
    typical_record,
    write_csv,
)
from proto_model.schema import Feature, ModelSchema

SCHEMA = ModelSchema(
    "m",
    "y",
    "string",
    ("a", "b"),
    (
        Feature("size", "double", False, minimum=0.0, median=1.0, maximum=4.0),
        Feature("age", "long", True, minimum=20.0, median=41.5, maximum=60.0),
        Feature("owner", "boolean", False, minimum=0.0, median=0.0, maximum=1.0),
        Feature("job", "string", False, categories=("clerk", "nurse"), most_frequent="nurse"),
    ),
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"n": 1.5, "s": "x"}'),
        ("a.json", '[{"n": 1.5, "s": "x"}]'),
        ("a.json", '{"columns": ["n", "s"], "data": [[1.5, "x"]]}'),
    ],
)
def test_rows_are_read_from_every_kind_of_json(tmp_path, name, text):
    (tmp_path / name).write_text(text)

    assert read_records(tmp_path / name) == [{"n": 1.5, "s": "x"}]


def test_cells_of_csv_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text('\ufeffn, s,note\n1.5, x,\n\n007,NA,"5, 6"\n', encoding="utf-8")

    assert read_records(tmp_path / "a.csv") == [
        {"n": "1.5", "s": "x", "note": ""},
        {"n": "007", "s": "NA", "note": "5, 6"},
    ]


def test_a_cell_of_csv_may_be_a_long_text(tmp_path):
    (tmp_path / "a.csv").write_text("note\n" + "late " * 50_000 + "\n")

    assert read_records(tmp_path / "a.csv") == [{"note": "late " * 50_000}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ": it is empty"),
        ("a,a\n1,2\n", ": the header names a column twice: a, a"),
        ("a,b\n1,2\n3\n", ": row 1 has 1 values, 2 expected"),
        ("a\n\xff\n", " is not text. Give rows as JSON or as CSV, in UTF-8"),
    ],
)
def test_a_csv_that_is_no_table_is_named_with_the_reason(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")

    with pytest.raises(InputError, match=rf"a\.csv{reason}"):
        read_records(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["[]", "3", "[1]", "{", "", "[" * 99_999, '{"columns": ["a"], "data": [5]}'])
def test_a_file_without_rows_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(InputError, match=r"a\.json"):
        read_records(tmp_path / "a.json")


def test_rows_are_made_of_the_schema_in_the_types_of_the_columns():
    assert typical_record(SCHEMA) == {"size": 1.0, "age": 42, "owner": False, "job": "nurse"}
    assert spread_records(SCHEMA, 3) == [
        {"size": 0.0, "age": 20, "owner": False, "job": "clerk"},
        typical_record(SCHEMA),
        {"size": 4.0, "age": 60, "owner": True, "job": "nurse"},
    ]


def test_rows_are_made_of_the_metadata_of_v2():
    tensors = [
        {"name": kind, "datatype": kind, "shape": [-1, 1]} for kind in ("FP64", "INT64", "BOOL", "BYTES")
    ]

    assert record_of_tensors(tensors) == {"FP64": 0, "INT64": 0, "BOOL": False, "BYTES": "unknown"}


def test_rows_are_numbered_in_a_column_of_their_own(tmp_path):
    records = numbered([{"row": 7, "a": None}, {"row": 8, "a": "x,y"}])

    write_csv(tmp_path / "rows.csv", records)

    text = (tmp_path / "rows.csv").read_text()
    assert list(csv.reader(io.StringIO(text))) == [["_row", "row", "a"], ["0", "7", ""], ["1", "8", "x,y"]]
