"""A standalone cluster, whose executors have NumPy, pyarrow and llvmlite, and Sail, an engine of others'.

Both take a minute of CPU, so `make spark` runs them, and `make test` does not.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from proto_model.model import coded_rows
from tests.environments import ROOT, environment
from tests.file_servers import wait_until
from tests.ports import free_ports
from tests.spark_sessions import SPARK_MARKS

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed; `make spark` installs it")

pytestmark = [*SPARK_MARKS, pytest.mark.clusters]

CONSTRAINTS = ROOT / "constraints.txt"
ROWS = [
    {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1},
    {"age": None, "income": 8e4, "job": None, "owner": False, "children": 0},
]
CLIENT = """
import json, sys
from pyspark.sql import SparkSession
from proto_model.spark import scorer, udf

def sail():
    global server  # ends with its last reference
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    return SparkSession.builder.remote("sc://%s:%s" % server.listening_address).getOrCreate()

spark = {session}
kinds = "id int, age bigint, income double, job string, owner boolean, children bigint"
people = spark.createDataFrame([(1, 40, 2e4, "nurse", True, 1), (2, None, 8e4, None, False, 0)], kinds)
answers = [people.transform(scorer(spark, sys.argv[1]))]
answers += [people.select("id", udf(spark, sys.argv[1])().alias("p")).select("id", "p.*")]
found = []
for one in answers:
    rows = sorted(one.collect(), key=lambda row: row.id)
    found.append([[row.probability_no, row.probability_yes] for row in rows])
print(json.dumps(found))
"""


STANDALONE = 'SparkSession.builder.master("{master}").config("spark.ui.enabled", "false").getOrCreate()'
SAIL = "sail()"


@pytest.fixture
def folder(bundle, tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "bundle").symlink_to(bundle)
    return str(tmp_path)


@pytest.fixture
def expected(forest_model):
    return forest_model.predict_proba(coded_rows(ROWS, forest_model.schema)).tolist()


def answers_of(python, session, folder, **variables):
    done = subprocess.run(
        [python, "-W", "ignore", "-c", CLIENT.format(session=session), folder],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_executors_of_a_standalone_cluster_need_three_libraries(folder, expected, tmp_path):
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java")
    executors = environment("executors", "numpy", "pyarrow", "llvmlite", constraints=CONSTRAINTS)

    with cluster(tmp_path, {"PYSPARK_PYTHON": str(executors / "python")}) as master:
        found = answers_of(
            sys.executable,
            STANDALONE.format(master=master),
            folder,
            PYSPARK_PYTHON=str(executors / "python"),
            PYSPARK_DRIVER_PYTHON=sys.executable,
            SPARK_LOCAL_IP="127.0.0.1",
            PYTHONPATH=os.pathsep.join(sys.path),
        )

    assert found == [expected] * 2


def test_sail_gives_the_same_answers(folder, expected):
    """It takes no artifacts, so the model travels with the function."""
    python = environment(
        "sail", "pysail", "pyspark-client>=4.1,<5", "numpy", "pyarrow", "llvmlite", constraints=CONSTRAINTS
    )
    found = answers_of(str(python / "python"), SAIL, folder, PYTHONPATH=str(ROOT / "src"))

    assert found == [expected] * 2


@contextmanager
def cluster(folder, variables):
    """Address of a master with one worker."""
    home = Path(pyspark.__file__).parent
    port, page = free_ports(2)
    master = f"spark://127.0.0.1:{port}"
    environment = os.environ | variables | {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    address = ["--host", "127.0.0.1"]
    commands = [
        ["org.apache.spark.deploy.master.Master", *address, "--port", str(port), "--webui-port", str(page)],
        ["org.apache.spark.deploy.worker.Worker", *address, "--webui-port", "0", "-c", "2", "-m", "1g"],
    ]
    commands[1] += ["--work-dir", str(folder / "work"), master]
    running = [
        subprocess.Popen(
            [str(home / "bin" / "spark-class"), *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        wait_until(lambda: has_worker(page), 120)
        yield master
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def has_worker(page):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/") as answer:
            return json.load(answer)["aliveworkers"] == 1
    except OSError:
        return False
