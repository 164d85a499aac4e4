"""The short forms of `benchmarks/conformance.py`."""

import importlib
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from tests.stores import fresh_store
from tests.trainings import train_again

pytestmark = pytest.mark.system
PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "conformance.py"


def lines(*words):
    """Table, engine and figures of each line that the program prints."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


@pytest.fixture
def program(monkeypatch):
    """Its module, which trains in this process, on fewer rows."""
    monkeypatch.syspath_prepend(PROGRAM.parent)
    module = importlib.import_module(PROGRAM.stem)
    run = module._python

    def in_this_process(*words, cwd=None, **variables):
        if words[:2] == ("proto_model", "train"):
            train_again(cwd, fresh_store(cwd), *words[2:])
        else:
            run(*words, cwd=cwd, **variables)

    monkeypatch.setattr(module, "_python", in_this_process)
    monkeypatch.setattr(module, "N_TRAINING", 500)
    yield module
    mlflow.set_tracking_uri(None)


def test_engines_answer_as_the_model_does(program, monkeypatch, capsys):
    words = ["--rows", "500", "--table", "levels", "--engine", "lean", "--engine", "files"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])

    program.main()

    found = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("levels")]
    assert found == [["levels", "lean", "500", "0", "0", "0"], ["levels", "files", "500", "0", "0", "0"]]


@pytest.mark.long
def test_every_engine_answers_as_the_model_does_on_every_table():
    found = lines("--rows", "1000")

    assert {line[0] for line in found} == {"breast_cancer", "digits", "wine", "mixed", "levels"}
    figures = {(line[0], line[1]): line[3:5] for line in found if line[2] == "1,000"}
    assert {key for key, value in figures.items() if value != ["0", "0"]} <= {
        (table, "pmml") for table, _ in figures
    }
