"""What the commands write to standard error, where their log goes, holds no value of a row.

Answers do, and so do the warnings with an answer and the one error with which a command ends: they are for
whoever gave the rows.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.file_servers import mapping, serving
from tests.stores import fresh_store

pytestmark = [pytest.mark.system, pytest.mark.long]

ROOT = Path(__file__).parents[2]
MARK, NUMBER = "Zaphod", 4711.0815
MARKS = (MARK, "4711")
N_ROWS = 90


def rows():
    """Of which a column is a name, one is empty but once, and one holds a text among its numbers."""
    for i in range(N_ROWS):
        yield {
            "size": NUMBER if i % 3 else i / 7,
            "job": MARK if i % 2 else "nurse",
            "name": f"{MARK} the {i}th",
            "note": MARK,
            "rare": MARK if i % 10 == 5 else "",
            "mixed": MARK if i == 7 else i,
            "class": "yes" if i % 3 else "no",
        }


def csv(path, records):
    lines = [",".join(map(str, record.values())) for record in records]
    path.write_text("\n".join([",".join(records[0]), *lines, ""]))
    return str(path)


def run(folder, *command, status=0):
    """What a command wrote to both of its outputs."""
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_", "AWS_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=variables | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == status or status is None, done.stderr[-3000:]
    return done.stdout, done.stderr


def silent(text):
    """Nothing of the marks is in a text."""
    assert not [line for line in text.splitlines() if any(mark in line for mark in MARKS)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder in which a table full of marks was trained and compared; and what the commands said."""
    folder = tmp_path_factory.mktemp("logs")
    uri = fresh_store(folder)
    table = csv(folder / "table.csv", list(rows()))
    said = run(folder, "proto_model", "train", "--dataset", table, "--target", "class", "--n-candidates", "1")
    client = MlflowClient(uri)
    other = client.get_model_version_by_alias("proto_model", "challenger").version == 1
    client.set_registered_model_alias("proto_model", "champion", "2" if other else "1")
    said += run(folder, "proto_model", "compare", status=None)
    return folder, said


@pytest.fixture(scope="module")
def table(store):
    """Rows to predict, with a category and a number that training never saw."""
    folder, _ = store
    return csv(folder / "rows.csv", [{"size": NUMBER * 1000, "job": f"{MARK}2", "rare": MARK}])


def test_training_and_comparing_say_nothing_of_the_rows(store):
    _, said = store

    assert "dropped column 'note': constant" in said[1]
    assert json.loads(said[2])["verdict"] in ("kept", "promoted")
    for text in said:
        silent(text)


def test_scoring_says_nothing_of_the_rows(store):
    folder, _ = store
    row = {"size": NUMBER, "job": MARK, "rare": "", "id": MARK}
    csv(folder / "bad.csv", [row, {**row, "size": MARK}])
    score = ("proto_model", "score", "--input", "bad.csv", "--output", "out.csv", "--passthrough", "id")

    out, err = run(folder, *score, "--on-bad-row", "mark")
    assert json.loads(out)["rejected_rows"] == 1
    silent(out)
    silent(err)
    assert MARK in (folder / "out.csv").read_text()
    _, err = run(folder, *score, status=2)
    assert len(err.splitlines()) == 1  # the error with which it ends


def test_asking_says_nothing_of_the_rows(store, table, tmp_path):
    folder, _ = store
    model = next(folder.glob("mlruns/**/artifacts/MLmodel")).parent
    with serving("lean", model, tmp_path) as server, mapping(model, server.url, tmp_path, "rows") as mapper:
        for command in (
            ("proto_model", "invoke", "--url", server.url, "--data", table),
            ("proto_model", "invoke", "--url", mapper, "--mapper", "--explain", "--data", table),
            ("mapper", "predict", "--url", mapper, "--data", table),
            ("mapper", "explain", "--url", mapper, "--data", table, "--json"),
        ):
            out, err = run(folder, *command)
            assert "yes" in out
            silent("\n".join(line for line in err.splitlines() if not line.startswith("warning: row")))
        bad = csv(tmp_path / "bad.csv", [{"size": MARK, "job": MARK, "rare": MARK}] * 30)
        for command in (
            ("proto_model", "invoke", "--url", server.url, "--data", bad),
            ("mapper", "predict", "--url", mapper, "--data", bad),
        ):
            _, err = run(folder, *command, status=None)
            assert MARK in err  # the error with which it ends
    for log in (server.log, tmp_path / "mapper.log"):
        assert "status=4" in log.read_text()
        silent(log.read_text())
