"""What functions give, in each format of a file."""

import csv
import importlib.util
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proto_model.jobs import JobFailedError
from proto_model.jobs.outputs import Spool, write_outputs
from proto_model.sources import AvroSchema

needs_fastavro = pytest.mark.skipif(
    importlib.util.find_spec("fastavro") is None, reason="fastavro is not installed"
)
ROWS = [{"a": 1, "b": "x,\n§"}, {"a": 2.5, "c": None}, {"b": "", "d": [1, {"e": True}], "a": None}]


def written(tmp_path, kind, values, schema=None, *, is_table=True):
    spool = Spool(tmp_path / "spool")
    for value in values:
        spool.add(value)
    spool.close()
    path = tmp_path / "out"
    write_outputs(spool, kind, path, schema, is_table=is_table)
    return path


@pytest.mark.parametrize("values", [ROWS, [], [1, "x", None, [2]], [{"a": "\ud800"}]])
def test_json_holds_everything(tmp_path, values):
    assert json.loads(written(tmp_path, "json", values).read_text()) == values
    (tmp_path / "spool").unlink()
    lines = written(tmp_path, "jsonl", values).read_text().splitlines()
    assert [json.loads(line) for line in lines] == values


def test_the_one_output_of_a_whole_set_is_the_content_of_the_file(tmp_path):
    assert json.loads(written(tmp_path, "json", [{"auc": 1}], is_table=False).read_text()) == {"auc": 1}
    (tmp_path / "spool").unlink()
    assert json.loads(written(tmp_path, "json", [1, 2], is_table=False).read_text()) == [1, 2]


def test_csv_has_every_column_and_json_in_cells(tmp_path):
    with written(tmp_path, "csv", ROWS).open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert rows == [
        {"a": "1", "b": "x,\n§", "c": "", "d": ""},
        {"a": "2.5", "b": "", "c": "", "d": ""},
        {"a": "", "b": "", "c": "", "d": '[1, {"e": true}]'},
    ]


def test_what_is_no_record_has_a_column_of_its_own(tmp_path):
    assert written(tmp_path, "csv", [0.5, "x"]).read_text() == "value\n0.5\nx\n"


def test_parquet_has_one_type_for_each_column_and_leaves_texts_alone(tmp_path):
    values = [*({"a": 1, "b": "2024-03-01"} for _ in range(5000)), {"a": 0.5}]

    table = pq.read_table(written(tmp_path, "parquet", values))

    assert table.schema == pa.schema([("a", pa.float64()), ("b", pa.string())])
    assert table.to_pylist() == [*values[:-1], {"a": 0.5, "b": None}]


@pytest.mark.parametrize("values", [[{"a": 1}, {"a": "x"}], [{"a": "\ud800"}]])
def test_what_parquet_cannot_hold_is_told(tmp_path, values):
    with pytest.raises(JobFailedError, match="PARQUET cannot hold what the function gave"):
        written(tmp_path, "parquet", values)


@needs_fastavro
def test_avro_follows_the_sources_schema(tmp_path):
    import fastavro

    fields = [{"name": "a", "type": ["null", "double"]}]
    schema = AvroSchema.of(json.dumps({"type": "record", "name": "R", "fields": fields}).encode(), "out.avsc")

    with written(tmp_path, "avro", [{"a": 1.5}, {"a": None}], schema).open("rb") as file:
        assert list(fastavro.reader(file)) == [{"a": 1.5}, {"a": None}]
    (tmp_path / "spool").unlink()
    with pytest.raises(JobFailedError, match=r"not as out.avsc says"):
        written(tmp_path, "avro", [{"a": "x"}], schema)
