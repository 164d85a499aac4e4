"""The soaks in short. `make soak` and `make soak-swaps` are the long forms."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]


def test_under_everything_at_once_no_answer_is_wrong_and_every_error_has_a_cause(tmp_path):
    command = [sys.executable, "-m", "scripts.soak", "--minutes", "0.33", "--out", str(tmp_path)]

    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["wrong_answers"] == 0
    assert report["unexpected_errors"] == []
    right = {client for client, outcome, _ in report["outcomes"] if outcome.endswith("right")}
    assert right >= {"invocations", "v2", "mapper"}
    assert any(client.startswith("file") for client in right)
    assert any(what.startswith("SIGKILL") for what in report["disturbances"])
    assert any(what.startswith("rolling restart") for what in report["disturbances"])


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="who has which connection is read from Linux")
def test_while_versions_change_and_workers_die_each_answer_is_that_of_the_version_it_names(tmp_path):
    command = [sys.executable, "-m", "scripts.soak.promotions", "--minutes", "0.15", "--clients", "16"]
    command += ["--rate", "40", "--swap-s", "3", "--kill-s", "4", "--out", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "soak-promotions.json").read_text())
    assert report["wrong_answers"] == 0
    assert report["unexpected_errors"] == []
    right = {client for client, outcome, _ in report["outcomes"] if outcome == "200, right"}
    assert right == {"invocations", "v2", "mapper", "invocations, explained"}
    assert report["kills"][0]["server"] == "rows"
    assert report["disturbances"]["promotion"]
