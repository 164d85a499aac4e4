"""`mlflow run` and `mlflow models serve` in environments that MLflow makes of the logged requirements."""

import re
import sys

import pytest

from tests.file_servers import ROOT
from tests.ports import free_port
from tests.terminal import Terminal

pytestmark = [pytest.mark.system, pytest.mark.sequence]

# What MLflow asks of pyenv, which it wants for `virtualenv`: the Python that runs MLflow, and no other.
PYENV = """#!/bin/sh
case "$1" in
  root) echo {root} ;;
  install) [ "$2 $3" = "--skip-existing {version}" ] ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def terminal(tmp_path):
    for name in ("user", "bin"):
        (tmp_path / name).mkdir()
    version = ".".join(map(str, sys.version_info[:3]))
    python = tmp_path / "pyenv" / "versions" / version / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    pyenv = tmp_path / "bin" / "pyenv"
    pyenv.write_text(PYENV.format(root=tmp_path / "pyenv", version=version))
    pyenv.chmod(0o755)
    terminal = Terminal(
        tmp_path / "user", {"5001": str(free_port())}, MLFLOW_ENV_ROOT=str(tmp_path / "environments")
    )
    terminal.env["PATH"] = f"{tmp_path / 'bin'}:{terminal.env['PATH']}"
    terminal.env.pop("PYTHONPATH", None)
    return terminal


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_run_and_its_version_work_in_environments_of_their_own(manager, terminal, tmp_path):
    said = terminal.type(
        f"mlflow run --env-manager {manager} {ROOT / 'src'} -P dataset=iris -P n_candidates=1"
    )
    [run] = re.findall(r"^MLFLOW_RUN_ID=([0-9a-f]{32})$", said, re.MULTILINE)
    serve = f"mlflow models serve -m runs:/{run}/model -p 5001 --env-manager {manager}"
    with terminal.serving(serve, "http://127.0.0.1:5001/ping"):
        script = f"PYTHONPATH={ROOT / 'src'} python {ROOT / 'run_proto_model_invocation.py'}"
        answer = terminal.type(f"export MLFLOW_RUN_ID={run}; {script} --url http://127.0.0.1:5001 --explain")

    assert f"Row: the example of runs:/{run}/model" in answer
    assert "Why row 0: " in answer
    assert len(list((tmp_path / "environments").glob("mlflow-*"))) == 2
