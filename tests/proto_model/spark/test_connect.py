"""Spark Connect: a server of Spark's own, and a client in a process of its own."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from proto_model.model import coded_rows
from tests.spark_sessions import SPARK_MARKS

pytest.importorskip("pyspark.sql.connect.session", reason="pyspark[connect] is not installed")

pytestmark = SPARK_MARKS

CLIENT = """
import json, sys
from pyspark.sql import SparkSession, functions as F
from proto_model.errors import InputError
from proto_model.spark import register, scorer, udf

spark = SparkSession.builder.remote("local[2]").getOrCreate()
names = ["age", "income", "job", "owner", "children"]
kinds = "id int, age bigint, income double, job string, owner boolean, children bigint"
people = spark.createDataFrame([(1, 40, 2e4, "nurse", True, 1), (2, None, 8e4, None, False, 0)], kinds)
score, predict = scorer(spark, sys.argv[1]), udf(spark, sys.argv[1])
register(spark, "churn", sys.argv[1])
people.createOrReplaceTempView("people")
answers = [
    people.transform(score),
    people.select("id", predict().alias("p")).select("id", "p.*"),
    people.select("id", predict(F.struct("*")).alias("p")).select("id", "p.*"),
    spark.sql("SELECT id, p.* FROM (SELECT id, churn(struct(*)) AS p FROM people)"),
]
found = [
    [[row.probability_no, row.probability_yes] for row in one.orderBy("id").collect()]
    for one in answers
]
try:
    people.drop("income").transform(score)
except InputError as error:
    found.append(str(error))
print(json.dumps(found))
"""


def test_a_client_of_spark_connect_gets_the_same_answers(bundle, forest_model, tmp_path):
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "bundle").symlink_to(bundle)
    rows = [
        {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1},
        {"age": None, "income": 8e4, "job": None, "owner": False, "children": 0},
    ]
    expected = forest_model.predict_proba(coded_rows(rows, forest_model.schema)).tolist()
    environment = os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_TESTING": "1",  # a free port
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLIENT, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    *answers, refused = json.loads(done.stdout.splitlines()[-1])
    assert answers == [expected] * 4
    assert refused.startswith("Columns missing in the frame: 'income'.")
