"""Every command block of README.md and docs/, run in a copy of the repository, document by document.

A comment in front of a block says how it is run; a block without one is run and has to end with 0:

- `<!-- test: server URL -->`: started in the background until its document ends; the next block waits until
  URL answers, or at a URL such as `tcp://127.0.0.1:9000` until the port is open.
- `<!-- test: in FILE -->`: run elsewhere, by that test file, which must exist.
- `<!-- test: exit N -->`: has to end with N; an `error:` in a block below it has to be what it says.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.stores import fresh_store
from tests.terminal import background, copy_of_the_repository

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?:<!-- test: (?P<how>.+?) -->\n+)?```(?P<language>bash|python)\n(?P<code>.*?)```"
    r"(?:\n\n```\n(?P<says>error: .*?)```)?",
    re.DOTALL,
)
PORTS = ("5001", "8080", "8081", "5000", "5005", "5002", "9000", "8090")

# README's own training searches eight settings of each variant. One is enough here: `make sequence` types it
# as it stands.
TRAINING = re.compile(r"(?<=^mlflow run --env-manager local ./src)$", re.MULTILINE)

pytestmark = pytest.mark.system


# What a newcomer types runs with every test, the rest with `make long`.
DOCUMENTS = (
    "README.md",
    pytest.param("examples/loans/README.md", marks=pytest.mark.long),
    *(
        pytest.param(f"docs/{name}.md", marks=pytest.mark.long)
        for name in (
            "tutorial",
            "training",
            "promotion",
            "versions",
            "formats",
            "serving",
            "mapper",
            "files",
            "engines",
            "explanations",
            "deployment",
            "publishing",
            "access",
            "commands",
            "package",
            "browser",
            "sources",
            "jobs",
        )
    ),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the repository; the documents share it, as a reader's shell does."""
    workspace = copy_of_the_repository(tmp_path_factory.mktemp("documents") / "repo")
    fresh_store(workspace)
    return workspace


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    own = ("MLFLOW_", "MAPPER_", "AWS_", "PROTO_MODEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    # `mlflow ui` is looked at, not used: one process of it, rather than four and a runner of jobs.
    return env | {"MLFLOW_WORKERS": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_works(document: str, workspace: Path, env: dict[str, str], tmp_path: Path) -> None:
    if document != "README.md" and not (workspace / "mlruns").exists():  # the documents begin after README
        for command in (
            ["mlflow", "run", "--env-manager", "local", "./src", "-P", "n_candidates=1"],
            ["python", "compare.py"],
        ):
            _run(command, workspace, env)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    with contextlib.ExitStack() as servers:
        for block in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8")):
            how, code = (
                re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: ports[port[0]], text)
                for text in (block["how"] or "run", block["code"])
            )
            code = TRAINING.sub(" -P n_candidates=1", code)
            shell = ["bash", "-euo", "pipefail", "-c"] if block["language"] == "bash" else ["python", "-c"]
            kind, _, argument = how.partition(" ")
            if kind == "in":
                assert (ROOT / argument).is_file(), f"{argument} is to run: {code}"
            elif kind == "server":
                servers.enter_context(background([*shell, code], argument, workspace, env, tmp_path))
            else:
                said = _run([*shell, code], workspace, env, int(argument) if kind == "exit" else 0)
                assert " ".join((block["says"] or "").split()) in said


def _run(command: list[str], workspace: Path, env: dict[str, str], expected: int = 0) -> str:
    """Run a command; what it said on stderr."""
    done = subprocess.run(command, cwd=workspace, env=env, text=True, capture_output=True, timeout=900)
    said = f"{command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == expected, said
    return done.stderr
