"""The notebook of examples/, cell by cell in one process, as Jupyter runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.terminal import ROOT

pytestmark = [pytest.mark.system, pytest.mark.long]

NOTEBOOK = ROOT / "examples" / "notebook" / "workflow.ipynb"
# Each cell is compiled by itself, with its number in tracebacks; the last expression of one is shown.
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin), 1):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last is not None:
        print(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))
"""


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_holds_no_outputs():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]

    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_every_cell_works_and_shows_what_its_text_says(tmp_path):
    sources = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}

    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(sources),
        cwd=tmp_path,
        env=env | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count("IF ") >= 2
    assert "The request does not fit the model (422)" in done.stdout
    assert "carier" in done.stdout
    assert "distance_km: 'far' given" in done.stdout
    assert "<svg" in done.stdout  # the last expression of its cell, which a notebook draws
