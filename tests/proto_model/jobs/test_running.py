"""Jobs of sources that take records, from job.json to the result."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proto_model.files.transfer import FileSettings
from proto_model.jobs import COMPLETE, ERROR, Job, JobError, JobOptions, Result, run_job
from proto_model.sources import Limits, SourceError
from tests.proto_model.jobs.conftest import SPARK, document, external, source

SCORES = [{"id": 1, "price": 1.5}, {"id": 3, "price": 2.0}]

SLEEPS = """
import os, subprocess, sys, time
def action(x):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(PIDS + ".part", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(PIDS + ".part", PIDS)
    time.sleep(600)
"""


def ran(path: Path, **options) -> Result:
    out = str(path.parent / "out")
    return run_job(Job.read(path), out, JobOptions(**options), lambda uri, folder: Path(uri))


def result_of(path: Path) -> dict:
    return json.loads((path.parent / "out" / "job.json").read_text())


def with_code(code: str) -> dict:
    return {"model": {"storedModel": {"modelAssets": [source(code)]}}}


def test_a_score_job_writes_its_output_and_its_result(write):
    path = write()

    result = ran(path)

    assert (path.parent / "prices.csv").read_text() == "id,price\n1,1.5\n3,2.0\n"
    assert result.status == COMPLETE
    told = result_of(path)
    assert (told["jobStatus"], told["engine"], told["jobMessages"]) == ("COMPLETE", "local", [])
    assert (told["summary"]["records_in"], told["summary"]["records_out"]) == (3, 2)
    assert told["summary"]["rejected"] == {"price raised KeyError in line 13: 'z'": 1}
    assert told["outputData"] == [
        external(str(path.parent / "prices.csv"), fileFormat="CSV", filename="prices.csv", fileSize=21)
    ]
    assert told["startDate"] <= told["completeDate"]
    assert told["model"] == document()["model"]


def test_a_test_job_gets_the_whole_set_and_its_metrics_stand_in_the_folder(write):
    path = write(jobType="MODEL_BATCH_TEST_JOB", outputData=[])

    ran(path)

    told = json.loads((path.parent / "out" / "metrics.json").read_text())
    assert told == {"rows": 3, "letters": ["a", "b", "z"]}
    [output] = result_of(path)["outputData"]
    assert output["fileUrl"] == str(path.parent / "out" / "metrics.json")


def test_what_a_training_writes_to_output_dir_is_an_asset_of_the_job(write):
    path = write(jobType="MODEL_BATCH_TRAINING_JOB", outputData=None)

    ran(path)

    kept = path.parent / "out" / "outputDir" / "prices.json"
    assert json.loads(kept.read_text()) == {"a": 1, "z": 1, "b": 1}
    [output] = result_of(path)["outputData"]
    assert output == external(str(kept), filename="prices.json", fileSize=kept.stat().st_size)


def test_functions_may_be_named_by_the_job_and_data_may_stand_in_it(write):
    code = "def other(x):\n    return x['a'] + 1\n\n# modelop.score\ndef tagged(x):\n    return 0\n"
    data = {"name": "rows.json", "assetType": "FILE", "fileContent": "W3siYSI6IDF9XQ=="}
    path = write(
        model={"storedModel": {"modelAssets": [source(code, scoreFunction="other")]}},
        inputData=[data],
        outputData=[{"name": "numbers.json"}],
    )

    ran(path)

    assert json.loads((path.parent / "out" / "numbers.json").read_text()) == [2]


def test_several_inputs_go_to_as_many_outputs_or_to_one(write):
    for names in (["x.jsonl", "y.jsonl"], ["z.jsonl"]):
        path = write(
            inputData=[external("letters.csv", fileFormat="CSV"), external("more.json")],
            outputData=[external(name) for name in names],
        )
        (path.parent / "more.json").write_text('[{"id": 9, "letter": "b"}]')
        ran(path)
        shutil.rmtree(path.parent / "out")
        scores = [(path.parent / name).read_text().splitlines() for name in names]
        lines = [json.loads(line) for part in scores for line in part]
        assert lines == [*SCORES, {"id": 9, "price": 2.0}]
        assert len(scores[0]) == (2 if len(names) == 2 else 3)


def test_a_source_that_fails_leaves_a_result_and_no_output(write):
    path = write(**with_code("# modelop.score\ndef action(x):\n    raise SystemExit(5)\n"))

    result = ran(path)

    assert result.status == ERROR
    assert "sys.exit(5)" in result_of(path)["jobMessages"][0]
    assert not (path.parent / "prices.csv").exists()


def test_a_job_whose_records_are_all_refused_has_failed(write):
    path = write(**with_code("def action(x):\n    return x['nothing']\n"))

    assert ran(path).status == ERROR
    assert (
        "Every record was refused, the first because: action raised KeyError"
        in result_of(path)["jobMessages"][0]
    )
    assert not (path.parent / "prices.csv").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputData": [external("nothing.csv")]}, "inputData[0].fileUrl: nothing.csv does not exist"),
        ({"inputData": []}, "inputData is missing or empty."),
        ({"inputData": [external("letters.csv", fileFormat="XML")]}, "inputData[0].fileFormat: 'xml' given"),
        ({"outputData": [external("no/where.csv")]}, "outputData[0].fileUrl: there is no folder"),
        (
            {"outputData": [external("here.csv")]},
            "here.csv is there already. Remove it, or give --overwrite.",
        ),
        ({"outputData": [external("a.xls")]}, "outputData[0].fileFormat: 'xls' given, CSV, JSON"),
        ({"outputData": [external("a.avro")]}, "outputData[0].fileFormat: AVRO needs the source's schema"),
        (
            {"outputData": [external("a"), external("b")]},
            "outputData has 2 elements, one, or as many as inputData",
        ),
        (
            {"inputData": [external("https://127.0.0.1/a.csv?s=5ec2e7")]},
            "the address 127.0.0.1, which is not public",
        ),
        ({"inputData": [external("hdfs://127.0.0.1:1/a.csv")]}, "For that, HDFS needs Hadoop's libhdfs"),
        (with_code("def action(:\n"), "prices.py, line 1: this is not Python"),
        (with_code(SPARK), "so it is for Spark."),
    ],
)
def test_what_cannot_be_used_is_told_and_stands_in_the_result(write, changes, said):
    path = write(**changes)
    (path.parent / "here.csv").write_text("")

    with pytest.raises((JobError, SourceError)) as raised:
        ran(path, engine="local")

    told = result_of(path)
    assert said in str(raised.value)
    assert (told["jobStatus"], said in told["jobMessages"][0]) == ("ERROR", True)
    assert "5ec2e7" not in json.dumps(told)


def test_the_output_folder_is_new_or_empty(write):
    path = write()
    (path.parent / "out").mkdir()
    (path.parent / "out" / "mine").write_text("")

    with pytest.raises(JobError, match="out is there already"):
        ran(path)

    assert [one.name for one in (path.parent / "out").iterdir()] == ["mine"]


def test_settings_that_look_secret_are_hidden_in_the_result(write):
    conf = {"spark.hadoop.fs.s3a.secret.key": "5ec2e7", "spark.executor.memory": "1g"}
    path = write(targetEngine={"sparkConf": conf})

    ran(path)

    assert result_of(path)["targetEngine"]["sparkConf"] == {
        **conf,
        "spark.hadoop.fs.s3a.secret.key": "[hidden]",
    }


def test_files_come_and_go_by_presigned_urls(write, rclone):
    rclone.path("jobs/in.csv").parent.mkdir()
    rclone.path("jobs/in.csv").write_text("id,letter\n1,a\n")
    path = write(
        inputData=[external(rclone.presign("get_object", "jobs/in.csv", 600), fileFormat="CSV")],
        outputData=[external(rclone.presign("put_object", "jobs/out.json", 600), fileFormat="JSON")],
    )

    ran(path, settings=FileSettings.from_environment(rclone.settings))

    assert json.loads(rclone.path("jobs/out.json").read_text()) == [SCORES[0]]
    assert "Signature" not in (path.parent / "out" / "job.json").read_text()


def test_a_long_source_comes_whole_by_a_presigned_url(write, rclone):
    # Longer than what one reading of a download gives; its functions come last.
    rclone.path("jobs/prices.py").parent.mkdir(exist_ok=True)
    code = "# a comment\n" * 50_000 + "# modelop.score\ndef score(x):\n    yield {'id': x['id']}\n"
    rclone.path("jobs/prices.py").write_text(code)
    whole = {"name": "prices.py", "assetType": "SOURCE_CODE", "primaryModelSource": True}
    whole["fileUrl"] = rclone.presign("get_object", "jobs/prices.py", 600)
    path = write(model={"storedModel": {"modelAssets": [whole]}})

    ran(path, settings=FileSettings.from_environment(rclone.settings))

    assert result_of(path)["jobStatus"] == "COMPLETE"


def test_stopping_ends_the_source_and_leaves_a_result(write):
    path = write()
    pids = path.parent / "pids"
    path = write(outputData=[], **with_code(SLEEPS.replace("PIDS", repr(str(pids)))))
    command = [
        sys.executable,
        "-m",
        "proto_model",
        "job",
        "run",
        str(path),
        "--output-dir",
        str(path.parent / "out"),
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not pids.exists():
        assert running.poll() is None
        time.sleep(0.05)

    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)

    assert (running.returncode, said.splitlines()[-1]) == (143, "stopped")
    assert result_of(path)["jobStatus"] == "CANCELLED"
    for pid in map(int, pids.read_text().split()):
        while _lives(pid):
            time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_version_scores_in_the_place_of_a_source(write, mixed_frame, bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "version" / "artifacts" / "bundle")
    mixed_frame.head(20).drop(columns="class").to_csv(tmp_path / "people.csv", index=False)
    path = write(
        model={"uri": str(tmp_path / "version")},
        inputData=[external("people.csv", fileFormat="CSV")],
        outputData=[external("scores.csv")],
    )

    ran(path)

    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert (len(rows), {row["prediction"] for row in rows} <= {"yes", "no"}) == (20, True)
    assert result_of(path)["summary"] == {"records_in": 20, "rejected": 0}


@pytest.mark.parametrize("name", ["RLIMIT", "timeout"])
def test_limits_hold(write, name):
    code = {"RLIMIT": "return len(bytearray(1 << 31))", "timeout": "\n    while True: pass"}[name]
    path = write(**with_code(f"def action(x):\n    {code}\n"))
    limits = Limits(memory_mb=512, timeout_s=3 if name == "timeout" else 60)

    result = ran(path, limits=limits)

    assert result.status == ERROR
    assert {"RLIMIT": "--memory", "timeout": "--timeout"}[name] in result.messages[0]


def test_a_training_and_a_test_need_a_source(write):
    path = write(jobType="MODEL_BATCH_TEST_JOB", model={"uri": "models:/a@b"})

    with pytest.raises(
        JobError, match=r"MODEL_BATCH_TEST_JOB needs a source: a version named by model.uri only"
    ):
        ran(path)
