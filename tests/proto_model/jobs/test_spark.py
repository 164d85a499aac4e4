"""Jobs that spark-submit runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.proto_model.jobs.conftest import external, source

pytest.importorskip("pyspark", reason="pyspark is not installed; see `make spark`")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java", allow_module_level=True)

pytestmark = pytest.mark.spark

LETTERS = """
from pyspark.sql import SparkSession

# modelop.score
def count(input_files, output_files, model_attachment_files):
    import helper
    spark = SparkSession.builder.appName("Letters").getOrCreate()
    rows = spark.read.format("csv").option("header", "true").load(input_files[0]["fileUrl"])
    prices = spark.read.json(model_attachment_files[0]["fileUrl"])
    with open("note.txt") as note, open("outputDir/rows.txt", "w") as kept:
        kept.write(f"{note.read()} {helper.count(rows)}")
    rows.join(prices, "letter").select("id", "price").write.csv(output_files[0]["fileUrl"])
    yield {"rows": rows.count()}

# modelop.metrics
def hang(input_files, output_files, model_attachment_files):
    import os, time
    with open(output_files[0]["fileUrl"] + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(output_files[0]["fileUrl"] + ".part", output_files[0]["fileUrl"])
    time.sleep(600)
"""


def job(tmp_path: Path, **changes) -> Path:
    assets = [
        source(LETTERS),
        {
            "name": "helper.py", "assetType": "SOURCE_CODE", "primaryModelSource": False,
            "sourceCode": "def count(rows):\n    return rows.count()\n",
        },
        {"name": "note.txt", "assetType": "FILE", "fileContent": "bm90ZQ=="},
        external("prices.jsonl"),
    ]  # fmt: skip
    (tmp_path / "prices.jsonl").write_text('{"letter": "a", "price": 1.5}\n{"letter": "b", "price": 2}\n')
    (tmp_path / "letters.csv").write_text("id,letter\n1,a\n2,z\n3,b\n")
    content = {
        "model": {"storedModel": {"modelAssets": assets}},
        "inputData": [external("letters.csv", fileFormat="CSV")],
        "outputData": [external("out", fileFormat="CSV")],
        "targetEngine": {
            "sparkConf": {
                "spark.sql.shuffle.partitions": "1",
                "spark.driver.extraJavaOptions": os.environ["SPARK_SUBMIT_OPTS"],
            }
        },
        **changes,
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps(content))
    return path


def started(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proto_model", "job", "run", str(path), "--master", "local[1]"]
    return subprocess.Popen(
        [*command, "--output-dir", str(path.parent / "results")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_runs_on_spark_and_its_assets_are_kept(tmp_path):
    path = job(tmp_path)

    running = started(path)
    said = running.communicate(timeout=500)

    assert running.returncode == 0, said
    rows = sorted(line for part in (tmp_path / "out").glob("part-*") for line in part.read_text().split())
    assert rows == ["1,1.5", "3,2.0"]
    results = tmp_path / "results"
    assert (results / "outputDir" / "rows.txt").read_text() == "note 3"
    assert json.loads((results / "outputs.jsonl").read_text()) == {"rows": 3}
    told = json.loads((results / "job.json").read_text())
    assert (told["jobStatus"], told["engine"], told["jobMessages"]) == ("COMPLETE", "spark", [])
    assert [one["filename"] for one in told["outputData"]] == ["out", "outputs.jsonl", "rows.txt"]


def test_stopping_a_job_ends_spark_with_all_that_it_started(tmp_path):
    path = job(tmp_path, jobType="MODEL_BATCH_TEST_JOB")
    running = started(path)
    while not (tmp_path / "out").exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    pid = int((tmp_path / "out").read_text())
    session = os.getsid(pid)

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)

    assert running.returncode == 130
    assert json.loads((tmp_path / "results" / "job.json").read_text())["jobStatus"] == "CANCELLED"
    while members(session):
        time.sleep(0.1)


def members(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == session and state != "Z":
            found.append(int(path.parent.name))
    return found
