"""V2 as the published `tritonclient` speaks it, from an environment of its own: it pins other libraries."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.system.test_lean_server import local_model, serving, store  # noqa: F401

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
CLIENT = "tritonclient[http]==2.73.0"
COLUMNS = {"size": [0.5, -1.0], "age": [40, 33], "job": ["nurse", "clerk"]}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Interpreter that has the client."""
    folder = tmp_path_factory.mktemp("triton")
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv is not installed, which installs tritonclient")
    subprocess.run([uv, "venv", "--python", sys.executable, folder / "venv"], check=True, capture_output=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run([uv, "pip", "install", "--python", python, CLIENT], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{CLIENT} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def test_raw_and_json_tensors_give_the_same_answers(python, local_model):  # noqa: F811
    with serving(local_model) as (_, port):
        done = subprocess.run(
            [python, Path(__file__).with_name("triton_client.py"), f"127.0.0.1:{port}", json.dumps(COLUMNS)],
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert done.returncode == 0, done.stderr
    found = np.array(json.loads(done.stdout))
    assert found.shape == (13, 2)
    assert (found == found[0]).all()
    assert ((found >= 0.5) & (found <= 1)).all()
