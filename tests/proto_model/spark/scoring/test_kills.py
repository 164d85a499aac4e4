"""Streams and batches of Spark that are killed or interrupted, as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.spark_sessions import SPARK_MARKS

pytest.importorskip("pyspark", reason="pyspark is not installed; `make spark` installs it")

pytestmark = [*SPARK_MARKS, pytest.mark.system]

N_FILES, N_ROWS = 4, 40_000
START_S = 600


@pytest.fixture(scope="module")
def model(bundle, tmp_path_factory):
    """A downloaded model."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "bundle").symlink_to(bundle)
    return folder


def rows(first):
    rng = np.random.default_rng(first)
    return pa.table(
        {
            "id": np.arange(first, first + N_ROWS),
            "age": rng.integers(18, 90, N_ROWS),
            "income": rng.lognormal(10, 0.6, N_ROWS),
            "job": rng.choice(["clerk", "farmer", "nurse"], N_ROWS),
            "owner": rng.random(N_ROWS) < 0.4,
            "children": rng.integers(0, 4, N_ROWS),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for i in range(N_FILES):
        pq.write_table(rows(i * N_ROWS), folder / f"{i}.parquet")
    return folder


def started(tmp_path, model, folder, *words):
    """The command as a process, the first of a session of its own."""
    command = ["--input", folder, "--output", tmp_path / "out", "-m", model, "--passthrough", "id", *words]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "proto_model",
            "spark-score",
            *map(str, command),
            "--master",
            "local[1]",
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(process, condition):
    deadline = time.monotonic() + START_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(checkpoint, batch):
    """Whether a batch has begun, and is not done."""
    return (checkpoint / "offsets" / str(batch)).exists() and not (
        checkpoint / "commits" / str(batch)
    ).exists()


def listed(folder):
    """Ids in the files that the sink lists as its output, which are all that a reader may take."""
    files = set()
    for log in sorted((folder / "_spark_metadata").glob("[0-9]*")):
        for line in log.read_text().splitlines()[1:]:
            entry = json.loads(line)
            assert entry["action"] == "add"
            files.add(entry["path"].removeprefix("file://"))
    return sorted(i for path in files for i in pq.read_table(path, columns=["id"])["id"].to_pylist())


@pytest.mark.long
def test_a_stream_killed_in_a_batch_goes_on_without_losing_or_doubling_a_row(model, folder, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    words = ("--stream", "--checkpoint", checkpoint, "--read-option", "maxFilesPerTrigger=1")
    first = started(tmp_path, model, folder, *words)
    wait_until(first, lambda: any(begun(checkpoint, batch) for batch in range(1, N_FILES - 1)))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = listed(tmp_path / "out")

    second = started(tmp_path, model, folder, *words)
    out, err = second.communicate(timeout=START_S)

    assert second.returncode == 0, err
    assert N_ROWS <= len(before) < N_FILES * N_ROWS
    assert listed(tmp_path / "out") == list(range(N_FILES * N_ROWS))
    assert json.loads(out)["rows"] == N_FILES * N_ROWS - len(before)


def test_an_interrupted_batch_leaves_nothing_behind(model, folder, tmp_path):
    process = started(tmp_path, model, folder)
    wait_until(process, lambda: any((tmp_path).glob(".out.*.part/_temporary/0/_temporary/*/*.parquet")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=START_S)

    assert process.returncode == 130, err
    assert (out, err) == ("", "interrupted\n")
    assert list(tmp_path.iterdir()) == []
