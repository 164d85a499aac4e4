"""Every command block of README.md, run in order in a copy of the repository.

A comment in front of a block says how it is run; a block without one is run and has to end with 0:

- `<!-- test: server URL -->`: started in the background; the next block waits until URL answers, or at a
  URL such as `tcp://127.0.0.1:9000` until the port is open.
- `<!-- test: in FILE -->`: run elsewhere, by that test file, which must exist.
- `<!-- test: exit N -->`: has to end with N.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?:<!-- test: (?P<how>.+?) -->\n+)?```(?P<language>bash|python)\n(?P<code>.*?)```", re.DOTALL
)
PORTS = ("5001", "8080", "5000", "5005", "5002", "9000")

pytestmark = pytest.mark.system


def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    workspace = _copy_of_the_repository(tmp_path / "repo")
    free_ports = _free_ports(len(PORTS))
    own = ("MLFLOW_", "MAPPER_", "AWS_", "PROTO_MODEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    blocks = list(BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(blocks) > 5

    with contextlib.ExitStack() as servers:
        for block in blocks:
            how, code = block["how"] or "run", block["code"]
            for port, free in zip(PORTS, free_ports, strict=True):
                how, code = re.sub(rf"\b{port}\b", free, how), re.sub(rf"\b{port}\b", free, code)
            command = (
                ["bash", "-euo", "pipefail", "-c", code]
                if block["language"] == "bash"
                else ["python", "-c", code]
            )
            kind, _, argument = how.partition(" ")
            if kind == "in":
                assert (ROOT / argument).is_file(), f"{argument} is to run: {code}"
            elif kind == "server":
                servers.enter_context(_server(command, argument, workspace, env, tmp_path))
            else:
                done = subprocess.run(
                    command, cwd=workspace, env=env, text=True, capture_output=True, timeout=300
                )
                expected = int(argument) if kind == "exit" else 0
                assert done.returncode == expected, f"{code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _copy_of_the_repository(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@contextlib.contextmanager
def _server(command: list[str], ready_url: str, cwd: Path, env: dict[str, str], logs: Path) -> Iterator[None]:
    log = logs / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 240
        while not _answers(ready_url):
            assert process.poll() is None, f"{command[-1]}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[-1]}\nno answer at {ready_url}\n{log.read_text()}"
            time.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended, which the test has complained about
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        if address.scheme == "tcp":
            socket.create_connection((address.hostname, address.port), 5).close()
            return True
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(listener.getsockname()[1]) for listener in sockets]
