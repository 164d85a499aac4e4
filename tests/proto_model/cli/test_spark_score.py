"""Tables scored through the command, on one session: starting Java takes longer than the rest."""

import csv
import json
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proto_model.cli import score, spark_score
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.training import make_pipeline
from tests.spark_sessions import SPARK_MARKS, local_session

pytest.importorskip("pyspark", reason="pyspark is not installed; `make spark` installs it")

pytestmark = SPARK_MARKS

FEATURES = ["age", "income", "job", "owner", "children"]
ANSWER = ["prediction", "probability", "probability_no", "probability_yes"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    warehouse = tmp_path_factory.mktemp("warehouse")
    with local_session({"spark.sql.warehouse.dir": str(warehouse)}) as session:
        yield session


@pytest.fixture(scope="module")
def model(bundle, tmp_path_factory):
    """A downloaded model."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "bundle").symlink_to(bundle)
    return str(folder)


@pytest.fixture(scope="module")
def people(mixed_frame):
    """Sixty rows with an id, of which two do not fit."""
    rows = mixed_frame.drop(columns="class").head(60).reset_index(names="id")
    rows.loc[5, "income"] = None
    rows.loc[9, "children"] = None
    return pa.Table.from_pandas(rows, preserve_index=False)


@pytest.fixture(scope="module")
def sound(people):
    return people.filter(pa.array([i not in (5, 9) for i in range(60)]))


def done(capsys, *words):
    """Summary of a command that ended well."""
    capsys.readouterr()
    code = spark_score.main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def refused(capsys, *words, main=spark_score.main):
    """Sentence of a command that was refused."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


def locally(tmp_path, rows, model, *words):
    """The same rows by `score`."""
    pq.write_table(rows, tmp_path / "local.parquet")
    target = tmp_path / "scored.parquet"
    assert (
        score.main(
            ["--input", str(tmp_path / "local.parquet"), "--output", str(target), "--model", model, *words]
        )
        == 0
    )
    return pq.read_table(target).to_pydict()


def by_id(frame):
    return frame.sort_values("id").reset_index(drop=True)


def test_the_answer_and_the_summary_are_those_of_score(spark, people, model, tmp_path, capsys):
    people = people.append_column("shoe", pa.array([43] * 60))
    pq.write_table(people, tmp_path / "people.parquet")
    words = ("--passthrough", "id", "--on-bad-row", "mark")

    summary = done(
        capsys, "--input", tmp_path / "people.parquet", "--output", tmp_path / "out", "-m", model, *words
    )

    expected = locally(tmp_path, people, model, *words)
    found = spark.read.parquet(str(tmp_path / "out")).orderBy("id").toArrow().to_pydict()
    assert found == expected
    assert list(found) == ["id", *ANSWER, "error"]
    assert (summary["rows"], summary["rejected_rows"]) == (60, 2)
    assert summary["rejected_by_reason"] == {"income: no value": 1, "children: no value": 1}
    predicted = pd.Series(expected["prediction"]).value_counts().to_dict()
    assert summary["predictions"] == predicted
    assert summary["notes"] == ["a column is not a feature; left out: 'shoe'"]
    assert summary["digest"] == json.loads(Path(model, "artifacts/bundle/bundle.json").read_text())["digest"]


@pytest.mark.parametrize("format", ["csv", "json", "orc"])
def test_every_format_gives_the_same_bits(format, spark, sound, model, tmp_path, capsys):
    folder = str(tmp_path / "in")
    spark.createDataFrame(sound).write.format(format).option("header", True).save(folder)

    summary = done(
        capsys,
        *(
            "--input",
            folder,
            "--output",
            tmp_path / "out",
            "-m",
            model,
            "--passthrough",
            "id",
            "--format",
            format,
        ),
        *("--output-format", "parquet", "--partition-by", "job"),
    )

    found = spark.read.parquet(str(tmp_path / "out")).toPandas()
    expected = pd.DataFrame(locally(tmp_path, sound, model, "--passthrough", "id"))
    found = by_id(found.astype({"id": int}))
    assert found[ANSWER].equals(expected[ANSWER])
    assert summary["rows"] == 58
    assert (tmp_path / "out" / "job=nurse").is_dir()


def test_csv_rows_that_cannot_be_read_are_marked_or_end_the_job(spark, sound, model, tmp_path, capsys):
    rows = sound.slice(0, 3).to_pylist()
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *FEATURES])
        writer.writerows([row[name] for name in ["id", *FEATURES]] for row in rows)
        writer.writerow([3, 40])
        writer.writerow([4, 40, 1000.0, 'a "farmer"\nin two lines', True, 1])
    words = ("--input", tmp_path / "in.csv", "-m", model, "--passthrough", "id")

    summary = done(capsys, *words, "--output", tmp_path / "out", "--on-bad-row", "mark")
    said = refused(capsys, *words, "--output", tmp_path / "other")

    found = pd.concat(pd.read_csv(path) for path in (tmp_path / "out").glob("part-*.csv"))
    assert by_id(found)["error"].tolist()[3] == "a row that cannot be read"
    assert by_id(found)["prediction"].notna().tolist() == [True, True, True, False, True]
    assert summary["rejected_by_reason"] == {"a row that cannot be read": 1}
    assert "A row of the input cannot be read" in said
    assert "--on-bad-row mark" in said
    assert not (tmp_path / "other").exists()


def test_tables_of_the_catalog(spark, sound, model, tmp_path, capsys):
    spark.createDataFrame(sound).write.saveAsTable("people_in")

    summary = done(capsys, "--input", "table:people_in", "--output", "table:people_out", "-m", model)
    again = refused(capsys, "--input", "table:people_in", "--output", "table:people_out", "-m", model)
    done(
        capsys, "--input", "table:people_in", "--output", "table:people_out", "-m", model, "--mode", "append"
    )

    assert (summary["rows"], summary["input_format"], summary["output"]) == (58, "table", "table:people_out")
    assert spark.table("people_out").columns == ANSWER
    assert spark.table("people_out").count() == 116
    assert "people_out" in again
    assert "already exists" in again


def test_an_output_is_replaced_when_the_new_one_is_complete(spark, people, sound, model, tmp_path, capsys):
    pq.write_table(sound, tmp_path / "sound.parquet")
    pq.write_table(people, tmp_path / "people.parquet")
    to = ("--output", tmp_path / "out", "-m", model, "--passthrough", "id")
    done(capsys, "--input", tmp_path / "sound.parquet", *to)

    there = refused(capsys, "--input", tmp_path / "sound.parquet", *to)
    bad = refused(capsys, "--input", tmp_path / "people.parquet", *to, "--mode", "overwrite")

    assert "is there already. Replace it with --mode overwrite" in there
    assert "column 'income'" in bad
    assert spark.read.parquet(str(tmp_path / "out")).count() == 58
    assert (
        done(
            capsys, "--input", tmp_path / "people.parquet", *to, "--mode", "overwrite", "--on-bad-row", "mark"
        )["rows"]
        == 60
    )
    assert spark.read.parquet(str(tmp_path / "out")).count() == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "people.parquet", "sound.parquet"]


def test_a_folder_that_spark_did_not_write_is_never_replaced(spark, sound, model, tmp_path, capsys):
    pq.write_table(sound, tmp_path / "in.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letters.txt").write_text("dear")

    said = refused(
        capsys,
        *(
            "--input",
            tmp_path / "in.parquet",
            "--output",
            tmp_path / "mine",
            "-m",
            model,
            "--mode",
            "overwrite",
        ),
    )

    assert "has no _SUCCESS: Spark did not write it" in said
    assert (tmp_path / "mine" / "letters.txt").exists()


def test_a_table_without_rows(spark, sound, model, tmp_path, capsys):
    pq.write_table(sound.slice(0, 0), tmp_path / "in.parquet")

    summary = done(capsys, "--input", tmp_path / "in.parquet", "--output", tmp_path / "out", "-m", model)

    assert (summary["rows"], summary["predictions"]) == (0, {})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--input", "nosuch"), "Path does not exist"),
        (("--passthrough", "nosuch"), "Columns missing in the input: 'nosuch'. It has 'id', 'age'"),
        (("--format", "delta"), "cannot read or write delta: its jars are not there"),
        (("--output-format", "iceberg"), "cannot read or write iceberg: its jars are not there"),
        (("--format", "arrow"), "no files in the format arrow"),
        (("--format", "xls"), "Choose one of parquet"),
        (("--schema", "age int int"), "Spark refuses this"),
        (("--checkpoint", "c"), "Add --stream"),
        (("--stream",), "needs --checkpoint"),
        (("--stream", "--checkpoint", "c", "--trigger", "x"), "--trigger is 'x'"),
        (("--stream", "--checkpoint", "c", "--mode", "overwrite"), "Leave out --mode overwrite"),
        (("--model", "nosuch"), "There is no folder nosuch"),
        (("--coverage", "2"), "coverage: 2.0 given"),
    ],
)
def test_what_the_caller_can_put_right_is_told_in_a_sentence(
    words, complaint, spark, sound, model, tmp_path, capsys
):
    pq.write_table(sound, tmp_path / "in.parquet")

    said = refused(
        capsys, "--input", tmp_path / "in.parquet", "--output", tmp_path / "out", "-m", model, *words
    )

    assert complaint in said
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_stream_scores_each_row_once_and_keeps_its_version(
    spark, logged, sound, mixed_data, tmp_path, capsys
):
    register_version(logged.model_uri, "people", alias="champion")
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(sound.slice(0, 30), folder / "a.parquet")
    words = (
        *(
            "--input",
            folder,
            "--output",
            tmp_path / "out",
            "--passthrough",
            "id",
            "-m",
            "models:/people@champion",
        ),
        *("--stream", "--checkpoint", tmp_path / "checkpoint"),
    )
    first = done(capsys, *words)
    pq.write_table(sound.slice(30), folder / "b.parquet")
    other = make_pipeline("random_forest", mixed_data.schema, 1, n_estimators=20)
    fitted = other.fit(mixed_data.X_train, mixed_data.y_train)
    with mlflow.start_run(experiment_id=mlflow.get_run(logged.run_id).info.experiment_id):
        register_version(log_forest_model(fitted, mixed_data).model_uri, "people", alias="champion")

    assert spark_score.main([*map(str, words), "--json"]) == 0
    out, told = capsys.readouterr()
    second = json.loads(out)
    changed = refused(capsys, *words, "--on-bad-row", "mark")
    elsewhere = refused(capsys, *words, "-m", "models:/people/2")
    followed = done(capsys, *words, "--follow")

    assert (first["rows"], first["version"], first["stream"]["batches"]) == (30, "1", 1)
    assert (second["rows"], second["version"]) == (28, "1")
    assert (
        "models:/people@champion is models:/people/2 by now. This stream goes on with models:/people/1"
        in told
    )
    assert "batch 1: 28 rows" in told
    assert "belongs to a stream with other columns of the output" in changed
    assert "Go on with it by --follow" in elsewhere
    assert (followed["rows"], followed["version"]) == (0, "2")
    found = spark.read.parquet(str(tmp_path / "out")).toPandas()
    assert sorted(found["id"]) == sorted(sound["id"].to_pylist())


def test_score_takes_spark_as_its_engine(spark, sound, model, tmp_path, capsys):
    pq.write_table(sound, tmp_path / "in.parquet")
    words = ["--input", str(tmp_path / "in.parquet"), "--model", model, "--passthrough", "id"]

    assert score.main([*words, "--output", str(tmp_path / "a.parquet")]) == 0
    local = json.loads(capsys.readouterr().out)
    assert score.main([*words, "--output", str(tmp_path / "b.parquet"), "--run-on", "spark"]) == 0
    there = json.loads(capsys.readouterr().out)

    ours, theirs = pq.read_table(tmp_path / "a.parquet"), spark.read.parquet(str(tmp_path / "b.parquet"))
    assert theirs.orderBy("id").toArrow().to_pydict() == ours.to_pydict()
    assert {name: there[name] for name in local if name != "output"} == {
        name: local[name] for name in local if name != "output"
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--run-on", "spark", "--workers", "2"), "--workers is not for Spark. Use --master local[2]"),
        (("--run-on", "spark", "--output-format", "arrow"), "no files in the format arrow"),
        (("--master", "local[2]"), "--master is for Spark. Add --run-on spark"),
    ],
)
def test_what_one_engine_does_not_know_is_refused(words, complaint, spark, model, tmp_path, capsys):
    said = refused(
        capsys,
        "--input",
        tmp_path / "in",
        "--output",
        tmp_path / "out",
        "--model",
        model,
        *words,
        main=score.main,
    )

    assert complaint in said


def test_a_stream_ends_with_a_sentence_at_a_row_that_does_not_fit(spark, people, model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    pq.write_table(people, tmp_path / "in" / "a.parquet")
    words = ("--input", tmp_path / "in", "--output", tmp_path / "out", "-m", model)

    said = refused(capsys, *words, "--stream", "--checkpoint", tmp_path / "checkpoint")

    assert "column 'income'" in said
    assert "on_bad_row='mark'" in said
