"""What needs no Spark: words of the command line, and sentences for what Spark says."""

import sys

import pytest

from proto_model.cli.main import main
from proto_model.errors import InputError
from proto_model.spark.scoring import session
from proto_model.spark.scoring.places import Place, copied_columns
from proto_model.spark.scoring.refusals import SparkJobError, in_words
from proto_model.spark.scoring.session import SessionOptions, pairs
from proto_model.spark.scoring.stream import trigger_options


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("people.parquet", "parquet"),
        ("s3a://bucket/people.orc/", "orc"),
        ("people.CSV.gz", "csv"),
        ("people.jsonl", "json"),
        ("people", "parquet"),
    ],
)
def test_a_name_tells_the_format(path, expected):
    assert Place.of(path, None, {}).format == expected


def test_a_folder_has_the_format_of_its_files(tmp_path):
    (tmp_path / "day=1").mkdir()
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "day=1" / "part-0.orc").touch()
    lake = tmp_path / "lake"
    (lake / "_delta_log").mkdir(parents=True)

    assert Place.of(str(tmp_path / "day=1"), None, {}).format == "orc"
    assert Place.of(str(lake), None, {}).format == "delta"


def test_a_table_is_named_and_knows_its_format():
    place = Place.of("table:sales.people", None, {})

    assert (place.is_table, place.name, place.kind, str(place)) == (
        True,
        "sales.people",
        "table",
        "table:sales.people",
    )


@pytest.mark.parametrize(
    ("text", "format", "complaint"),
    [
        ("table:people", "csv", "Leave out the format"),
        ("table:", None, "names no table"),
        ("people", "xls", "Choose one of parquet, orc, csv, json, delta, iceberg"),
    ],
)
def test_places_that_are_none(text, format, complaint):
    with pytest.raises(InputError, match=complaint):
        Place.of(text, format, {})


def test_columns_are_copied_by_name_with_those_that_name_folders():
    names = ["id", " day ", "age"]

    assert copied_columns(names, ["id"], ["day"]) == ["id", "day"]
    assert copied_columns(names, ["*"], ["day"]) == ["id", "day", "age"]
    assert copied_columns(names, [], []) == []
    with pytest.raises(InputError, match="missing in the input: 'nosuch'"):
        copied_columns(names, ["id", "nosuch"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("availableNow", {"availableNow": True}),
        ("5s", {"processingTime": "5 seconds"}),
        ("500 ms", {"processingTime": "500 milliseconds"}),
        ("1m", {"processingTime": "1 minutes"}),
    ],
)
def test_triggers(text, expected):
    assert trigger_options(text) == expected


@pytest.mark.parametrize("text", ["", "now", "5", "5 weeks", "-1s"])
def test_triggers_that_are_none(text):
    with pytest.raises(InputError, match="availableNow or an interval such as 5s"):
        trigger_options(text)


def test_settings_are_names_and_values():
    assert pairs("--conf", ["a.b=c=d", "e="]) == {"a.b": "c=d", "e": ""}
    with pytest.raises(InputError, match="--conf is 'a'"):
        pairs("--conf", ["a"])
    with pytest.raises(InputError, match="Give one of them"):
        SessionOptions.of("local[1]", "sc://localhost", [], "off")
    with pytest.raises(InputError, match="sc://localhost:15002 expected"):
        SessionOptions.of(None, "localhost", [], "off")


@pytest.mark.parametrize(
    ("said", "kind", "expected"),
    [
        (
            "[PATH_NOT_FOUND] Path does not exist: file:/nosuch. SQLSTATE: 42K03\n\tat org.apache",
            InputError,
            "Spark refuses this: Path does not exist: file:/nosuch.",
        ),
        (
            "An error occurred while calling o1.load.\n: [DATA_SOURCE_NOT_FOUND] Failed to find the data "
            "source: iceberg. Make sure. SQLSTATE: 42K02\n\tat org.apache",
            InputError,
            "This Spark cannot read or write iceberg: its jars are not there.",
        ),
        (
            "[PYTHON_EXCEPTION] An exception was thrown from the Python worker:\nTraceback\n"
            "proto_model.errors.InputError: Column 'age' is wrong.\n\tat org",
            InputError,
            "Column 'age' is wrong.",
        ),
        (
            "Job aborted\n[MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION] Malformed records are detected in "
            "record parsing: [secret,1].",
            InputError,
            "A row of the input cannot be read",
        ),
        (
            "Job aborted: executor lost\n\tat x",
            SparkJobError,
            "Spark's job failed: Job aborted: executor lost.",
        ),
    ],
)
def test_what_spark_says_becomes_a_sentence(said, kind, expected):
    error = in_words(RuntimeError(said))

    assert type(error) is kind
    assert str(error).startswith(expected)
    assert "\n" not in str(error)
    assert "secret" not in str(error)


def test_where_spark_is_not_installed_one_sentence_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    assert main(["spark-score", "--input", str(tmp_path), "--output", str(tmp_path / "out")]) == 2

    assert capsys.readouterr().err == (
        'error: Spark is not installed. Install it with: pip install "proto-model-turbo[spark]"\n'
    )


@pytest.mark.parametrize(
    ("options", "variable", "expected"),
    [
        (SessionOptions(), "", True),
        (SessionOptions(), "SPARK_CONF_DIR", False),
        (SessionOptions("local[2]"), "SPARK_CONF_DIR", True),
        (SessionOptions("yarn"), "", False),
        (SessionOptions(conf={"spark.master": "k8s://x"}), "", False),
    ],
)
def test_only_a_spark_of_this_machine_is_bound_to_it(options, variable, expected, monkeypatch, tmp_path):
    for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "x")

    conf = session._conf(options, tmp_path)

    assert ("spark.driver.host" in conf) == expected
    assert "log4j2.properties" in conf["spark.driver.extraJavaOptions"]
