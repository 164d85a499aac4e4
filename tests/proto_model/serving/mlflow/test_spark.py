"""A logged model as a function of Spark's columns; `make spark` installs what this needs."""

import mlflow
import pytest

from tests.spark_sessions import SPARK_MARKS, local_session

pytest.importorskip("pyspark", reason="pyspark is not installed; `make spark` installs it")

from pyspark.errors import PythonException
from pyspark.sql import functions as F

pytestmark = SPARK_MARKS

TYPES = {"age": "bigint", "income": "double", "job": "string", "owner": "boolean", "children": "bigint"}
ROWS = [
    (40, 2e4, "nurse", True, 1),
    (None, 8e4, None, False, 0),
    (70, 1.5, "never seen", True, 3),
]


@pytest.fixture(scope="module")
def spark():
    with pytest.MonkeyPatch.context() as patch, local_session(n_cores=1) as session:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        yield session


def table(spark, rows, names=tuple(TYPES)):
    frame = spark.createDataFrame(rows, ", ".join(f"{name} {TYPES[name]}" for name in TYPES))
    return frame.select(*names)


def answered(frame, function, *columns):
    return [row["answer"].asDict() for row in frame.select(function(*columns).alias("answer")).collect()]


@pytest.fixture(scope="module")
def expected(logged):
    records = [dict(zip(TYPES, row, strict=True)) for row in ROWS]
    return mlflow.pyfunc.load_model(logged.model_uri).predict(records).to_dict("records")


def test_columns_in_the_order_of_the_signature_or_by_name_get_the_models_answers(spark, logged, expected):
    predict = mlflow.pyfunc.spark_udf(spark, logged.model_uri, env_manager="local")
    shuffled = table(spark, ROWS, ["job", "children", "owner", "income", "age"])

    assert answered(table(spark, ROWS), predict, *TYPES) == expected
    assert answered(shuffled, predict) == expected  # all columns of the signature, by their names
    assert answered(shuffled, predict, *map(F.col, TYPES)) == expected
    assert answered(shuffled, predict, F.struct(*shuffled.columns)) == expected


def test_sql_calls_it_by_name(spark, logged, expected):
    spark.udf.register("predict_class", mlflow.pyfunc.spark_udf(spark, logged.model_uri, env_manager="local"))
    table(spark, ROWS).createOrReplaceTempView("people")

    for columns in (", ".join(TYPES), "struct(*)"):
        rows = spark.sql(f"select predict_class({columns}) as answer from people").collect()
        assert [row["answer"].asDict() for row in rows] == expected


def test_explanations_are_asked_for_by_a_parameter(spark, logged):
    kind = "prediction string, probability double, explanation struct<rule:struct<text:string>>"
    explain = mlflow.pyfunc.spark_udf(
        spark, logged.explainer_uri, env_manager="local", result_type=kind, params={"max_counterfactuals": 0}
    )

    [answer] = answered(table(spark, ROWS[:1]), explain, *TYPES)

    assert answer["explanation"]["rule"]["text"].startswith("IF ")


def test_a_wrong_value_ends_the_job_with_our_words(spark, logged):
    predict = mlflow.pyfunc.spark_udf(spark, logged.model_uri, env_manager="local", result_type="double")
    wrong = table(spark, [ROWS[0], (40, None, "nurse", None, 1)])

    with pytest.raises(PythonException) as caught:
        wrong.select(predict(*TYPES)).collect()

    assert "2 faults in the request (rows count from 0):" in str(caught.value)
    assert "row 1, column 'income': no value given, a number expected" in str(caught.value)
    assert "row 1, column 'owner': no value given, true or false expected" in str(caught.value)
