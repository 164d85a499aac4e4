"""Frames, functions of columns and SQL, on one session: starting Java takes longer than the rest."""

import _thread
import json
import math
import re
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proto_model.errors import ArtifactError, InputError
from proto_model.files import score_file
from proto_model.model import Predictor, coded_rows
from proto_model.parameters import FILE, Parameters
from proto_model.registry.publishing import PublicationError
from proto_model.registry.versions import register_version
from tests.spark_sessions import SPARK_MARKS, local_session

pytest.importorskip("pyspark", reason="pyspark is not installed; `make spark` installs it")

from pyspark.errors import PythonException
from pyspark.sql import functions as F

from proto_model.spark import register, scorer, udf
from proto_model.spark.scoring.waiting import n_running, run_job

pytestmark = SPARK_MARKS

COLUMNS = "id int, age bigint, income double, job string, owner boolean, children bigint"
FEATURES = ["age", "income", "job", "owner", "children"]
ROWS = [
    (1, 40, 2e4, "nurse", True, 1),
    (2, None, 8e4, None, False, 0),
    (3, 70, 1.5, "never seen", True, 3),
]
DOCUMENT = Path(__file__).parents[3] / "docs" / "spark.md"
ANSWER = ["prediction", "probability", "probability_no", "probability_yes"]


@pytest.fixture(scope="module")
def spark():
    with local_session() as session:
        yield session


@pytest.fixture(scope="module")
def folder(bundle, tmp_path_factory):
    """A downloaded model."""
    model = tmp_path_factory.mktemp("model")
    (model / "artifacts").mkdir()
    (model / "artifacts" / "bundle").symlink_to(bundle)
    return str(model)


@pytest.fixture(scope="module")
def people(spark):
    return spark.createDataFrame(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def expected(forest_model):
    """What the engine says in this process, by id."""
    records = [dict(zip(["id", *FEATURES], row, strict=True)) for row in ROWS]
    scores = forest_model.predict_proba(coded_rows(records, forest_model.schema)).tolist()
    return dict(zip([row[0] for row in ROWS], scores, strict=True))


def probabilities(rows):
    return {row["id"]: [row["probability_no"], row["probability_yes"]] for row in rows}


def test_a_frame_keeps_its_columns_and_gets_those_of_the_answer(spark, people, folder, expected):
    score = scorer(spark, folder)

    result = people.transform(score)

    assert result.columns == ["id", *FEATURES, *ANSWER]
    assert result.schema == score.schema(people)
    assert score.answer_type.names == ANSWER
    assert (score.uri, score.version) == (folder, None)
    rows = result.collect()
    assert probabilities(rows) == expected
    assert {tuple(row[:6]) for row in rows} == set(ROWS)


def test_the_same_values_in_other_types_get_the_same_answers(spark, people, folder, expected):
    other = people.select(
        "id",
        F.col("age").cast("decimal(4,1)").alias("age"),
        F.col("income").cast("string").alias("income"),
        "job",
        F.col("owner").cast("int").alias("owner"),
        F.col("children").cast("float").alias("children"),
    )

    assert probabilities(other.transform(scorer(spark, folder)).collect()) == expected


def test_a_version_that_is_not_published_is_refused_where_that_is_asked(spark, folder, monkeypatch):
    with pytest.raises(PublicationError):
        scorer(spark, folder, require_published=True)
    monkeypatch.setenv("PROTO_MODEL_REQUIRE_PUBLISHED", "true")
    with pytest.raises(PublicationError):
        register(spark, "churn", folder)


def test_options_are_those_of_files(spark, people, folder):
    score = scorer(
        spark, folder, prefix="c_", passthrough=["id"], explain=True, max_counterfactuals=0, on_bad_row="mark"
    )

    [row] = people.where("id = 1").transform(score).collect()

    assert list(row.asDict()) == ["id", *(f"c_{name}" for name in [*ANSWER, "explanation", "error"])]
    assert json.loads(row["c_explanation"])["rule"]["text"].startswith("IF ")
    assert row["c_error"] is None


def test_columns_are_taken_by_name_whatever_their_order(spark, people, folder, expected):
    predict = udf(spark, folder)
    mixed = FEATURES[::-1]

    for columns in ([], mixed, ["*"], [F.struct("*")], [F.struct(*mixed)], [F.col(name) for name in mixed]):
        frame = people.withColumn("p", predict(*columns))
        assert probabilities(frame.select("id", "p.*").collect()) == expected


def test_sql_calls_it_by_name(spark, people, folder, expected):
    function = register(spark, "churn", folder)
    people.createOrReplaceTempView("people")
    named = ", ".join(f"{name} => {name}" for name in reversed(FEATURES))

    for call in ("struct(*)", ", ".join(FEATURES), named):
        rows = spark.sql(f"SELECT id, p.* FROM (SELECT id, churn({call}) AS p FROM people)").collect()
        assert probabilities(rows) == expected
    assert (
        probabilities(spark.sql("SELECT id, inline(array(churn(struct(*)))) FROM people").collect())
        == expected
    )
    assert function.answer_type.names == ANSWER


def test_wrong_columns_are_named_before_anything_runs(spark, people, folder):
    score = scorer(spark, folder)
    wrong = people.withColumn("income", F.lit(True)).withColumn("age", F.array("age"))

    with pytest.raises(InputError, match=r"Columns missing in the frame: 'income'\. It has 'id', 'age',"):
        people.drop("income").transform(score)
    with pytest.raises(InputError) as caught:
        wrong.transform(score)
    assert "Column 'age': its type is array<bigint>, a whole number expected" in str(caught.value)
    assert "Column 'income': its type is boolean, a number expected" in str(caught.value)
    with pytest.raises(InputError, match=r"names of the answer: \['prediction'\]\. Rename or drop them, or"):
        people.withColumn("prediction", F.lit(1)).transform(score)
    with pytest.raises(InputError, match="Columns missing in the call: 'income'"):
        udf(spark, folder)("age", "job", "owner", "children")
    with pytest.raises(InputError, match=r"No option shoe_size\. There are explain, engine,"):
        scorer(spark, folder, shoe_size=43)
    with pytest.raises(InputError, match="passthrough is for frames"):
        udf(spark, folder, passthrough=["id"])
    with pytest.raises(ArtifactError, match="There is no folder nowhere"):
        scorer(spark, "nowhere")


def test_a_bad_row_is_marked_or_ends_the_job_without_its_values_in_the_logs(spark, folder):
    secret = "987654.25 euros"
    rows = [("1", "20", "nurse", "true", "1"), ("2", secret, "nurse", "true", "1")]
    frame = spark.createDataFrame(
        rows, "age string, income string, job string, owner string, children string"
    )

    marked = frame.transform(scorer(spark, folder, on_bad_row="mark")).collect()
    with pytest.raises(PythonException) as caught:
        frame.transform(scorer(spark, folder)).collect()

    assert [row["error"] is None for row in marked] == [True, False]
    assert secret in marked[1]["error"]
    assert marked[1]["prediction"] is None
    assert "A row has a value in column 'income' that the model does not take: a number expected" in str(
        caught.value
    )
    assert secret not in str(caught.value)


def test_an_alias_is_looked_up_once_and_named_by_its_number(spark, people, logged, expected):
    for _ in range(2):
        register_version(logged.model_uri, "churn", alias="champion")

    score = scorer(spark, "models:/churn@champion")

    assert (score.uri, score.version) == ("models:/churn@champion", "2")
    assert probabilities(people.transform(score).collect()) == expected


def test_the_commands_of_the_document_run(spark, people, logged, tmp_path, capsys):
    register_version(logged.model_uri, "churn", alias="champion")
    table = str(tmp_path / "people.parquet")
    people.coalesce(1).write.parquet(table)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)

    names = {}
    for block in blocks:
        exec(block.replace("people.parquet", table), names)

    assert len(blocks) == 4
    assert "prediction:string,probability:double" in capsys.readouterr().out


def test_answers_and_errors_are_those_of_the_engine_in_this_process_to_the_last_bit(
    spark, mixed_pipeline, forest_model, folder, tmp_path
):
    """NaN, nulls, unseen categories, ties, thresholds and their neighbours, extremes."""
    rng = np.random.default_rng(3)
    n_rows = 4_000
    thresholds = np.concatenate([tree.tree_.threshold for tree in mixed_pipeline[-1].estimators_])
    extremes = [0.0, -0.0, 5e-324, 3.4e38, -3.4e38, 1e39, math.inf, -math.inf, math.nan, 16777217.0]
    income = rng.choice(thresholds, n_rows)
    income[::3] = np.nextafter(income[::3], rng.choice([-np.inf, np.inf], len(income[::3])))
    income[::50] = rng.choice(extremes, len(income[::50]))
    jobs = ["clerk", "farmer", "nurse", "pilot", " nurse ", "never seen", "NA", "", None]
    table = pa.table(
        {
            "id": pa.array(range(n_rows)),
            "age": pa.array(
                [None if value < 20 else value for value in rng.integers(18, 90, n_rows).tolist()]
            ),
            "income": pa.array(income, mask=rng.random(n_rows) < 0.01),
            "job": pa.array([jobs[place] for place in rng.integers(0, len(jobs), n_rows)]),
            "owner": pa.array(rng.random(n_rows) < 0.4, mask=rng.random(n_rows) < 0.01),
            "children": pa.array(rng.choice([0.0, 1.0, 2.5, 3.0], n_rows)),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=500)
    asked = Parameters(on_bad_row="mark", passthrough=("id",))
    score_file(tmp_path / "rows.parquet", tmp_path / "here.parquet", Predictor(forest_model, FILE), asked)
    here = pq.read_table(tmp_path / "here.parquet")

    frame = spark.read.parquet(str(tmp_path / "rows.parquet")).repartition(5)
    score = scorer(spark, folder, on_bad_row="mark", passthrough=["id"])
    by_column = frame.select("id", udf(spark, folder, on_bad_row="mark")().alias("p")).select("id", "p.*")

    for result in (frame.transform(score), by_column):
        there = result.orderBy("id").toArrow()
        assert there.column_names == here.column_names
        assert 0 < here["error"].null_count < n_rows
        for name in here.column_names:
            assert bits(there[name]) == bits(here[name]), name


def bits(column):
    if pa.types.is_floating(column.type):
        return column.combine_chunks().fill_null(-1.0).to_numpy().view(np.int64).tolist()
    return column.to_pylist()


def test_no_task_of_an_interrupted_job_is_left_to_write(spark, tmp_path):
    """Java ends a task that waits for Python after its job; until then it may make its folder anew."""

    def asleep(batches):
        for batch in batches:
            time.sleep(60)
            yield batch

    def interrupt():
        deadline = time.monotonic() + 60
        while n_running(spark) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        _thread.interrupt_main()

    frame = spark.range(0, 10, 1, 4).mapInArrow(asleep, "id long")
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_job(spark, lambda: frame.write.parquet(str(tmp_path / "out")))
    assert n_running(spark) == 0
