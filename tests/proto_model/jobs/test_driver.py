"""The application of spark-submit, run without Spark."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proto_model.jobs.spark_folder import DRIVER

SOURCE = """
def begin():
    global began
    began = True

def rows(inputs, outputs, attachments):
    yield {"inputs": inputs, "began": began}
    yield [outputs, attachments]

def fail(inputs, outputs, attachments):
    raise KeyError("a\\nb")

def quit(inputs, outputs, attachments):
    exit("no more")

def nothing(inputs, outputs, attachments):
    pass
"""


def run(folder: Path, method: str, *, init: str | None = "begin") -> int:
    shutil.copy(DRIVER, folder)
    (folder / "model_source_code.py").write_text(SOURCE)
    first = "" if init is None else f"init_to_be_executed = {init!r}\n"
    (folder / "model_job_metadata.py").write_text(
        "job_input = [{'fileUrl': 'a'}]\njob_output = [1]\njob_model_assets_input = []\n"
        f"method_to_be_executed = {method!r}\n{first}"
    )
    return subprocess.run([sys.executable, DRIVER.name], cwd=folder, capture_output=True).returncode


def test_the_function_gets_three_lists_and_what_it_yields_is_kept(tmp_path):
    assert run(tmp_path, "rows") == 0

    lines = (tmp_path / "model_job_outputs.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"inputs": [{"fileUrl": "a"}], "began": True}, [[1], []]]
    assert not (tmp_path / "model_job_failure.json").exists()


def test_a_function_may_give_nothing_and_have_no_init(tmp_path):
    assert run(tmp_path, "nothing", init=None) == 0

    assert (tmp_path / "model_job_outputs.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("fail", {"type": "KeyError", "text": "'a\\nb'", "line": 11}),
        ("quit", {"type": "SystemExit", "text": "no more", "line": 14}),
        ("unknown", {"type": "AttributeError", "line": None}),
    ],
)
def test_what_a_function_raises_is_told_with_its_line(tmp_path, method, told):
    assert run(tmp_path, method) == 1

    assert json.loads((tmp_path / "model_job_failure.json").read_text()).items() >= told.items()
