"""The applications of examples/clients against a real mapper: their output, also on mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.ports import free_ports
from tests.terminal import ROOT, background
from tests.trainings import trained_in

pytestmark = [pytest.mark.system, pytest.mark.long]

CLIENTS = ROOT / "examples" / "clients"
LOANS = ROOT / "examples" / "loans" / "loans.csv"
MODEL = "models:/plain_loans@challenger"
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    settings = ("--target", "outcome", "--registered-model-name", "plain_loans")
    store = trained_in(folder, "--dataset", str(LOANS), *settings)
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env["MLFLOW_TRACKING_URI"] = store
    model, mapper = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    serve = [sys.executable, "-m", "proto_model", "serve", "-m", MODEL, "-p", model.rpartition(":")[2]]
    ask = [sys.executable, "-m", "mapper", "serve", "--model", MODEL, "--model-server-url", model]
    with (
        background(serve, f"{model}/ping", folder, env, folder),
        background([*ask, "--port", mapper.rpartition(":")[2]], f"{mapper}/readyz", folder, env, folder),
    ):
        yield mapper


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_python_application_explains_rows_of_a_file(url):
    done = run(sys.executable, str(CLIENTS / "app.py"), "--url", url, str(LOANS))

    assert done.returncode == 0, done.stderr
    assert re.findall(r"^row (\d): (?:repaid|late) \([01]\.\d\d\)$", done.stdout, re.MULTILINE) == [
        "0",
        "1",
        "2",
    ]
    assert done.stdout.count("  because IF ") == 3


def test_the_python_application_names_what_is_wrong(url, tmp_path):
    lines = LOANS.read_text(encoding="utf-8").splitlines()
    (tmp_path / "wrong.csv").write_text("\n".join([lines[0], lines[1].replace("8850", "much")]))

    done = run(sys.executable, str(CLIENTS / "app.py"), "--url", url, str(tmp_path / "wrong.csv"))

    assert done.returncode == 1
    assert done.stderr.startswith("The request does not fit the model (422)")
    assert "row 0, amount: 'much'" in done.stderr


def test_the_typescript_application_prints_an_explanation_and_a_problem(url):
    node = shutil.which("node")
    runs_types = node and run(node, "-p", "process.features.typescript").stdout.strip() == "strip"
    if not runs_types:
        pytest.skip("needs Node.js 22.18, which runs TypeScript")

    done = run(str(node), "--no-warnings", str(CLIENTS / "app.mts"), url)

    assert done.returncode == 0, done.stderr
    assert re.match(r"(repaid|late) \([01]\.\d\d\)\n  because IF ", done.stdout)
    assert "The request does not fit the model (422)" in done.stdout
    assert "  amount: 'much'" in done.stdout


def test_the_curl_command_of_the_document_prints_an_explanation(url):
    command = next(
        block for block in BLOCK.findall((CLIENTS / "README.md").read_text("utf-8")) if "curl " in block
    )
    typed = command.replace("http://127.0.0.1:8080", url)

    done = run("bash", "-c", typed)
    wrong = run("bash", "-c", typed.replace("8850", '"much"'))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["explanation"]["rule"]["text"].startswith("IF ")
    assert wrong.returncode == 22
    assert json.loads(wrong.stdout)["errors"][0]["field"] == "amount"
