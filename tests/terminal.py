"""A terminal in which tests type commands: in the foreground, and servers in the background."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
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

ROOT = Path(__file__).resolve().parents[1]

#: Long enough for pip to fill an environment on a busy machine; a server that ends is noticed at once.
START_S = 900


def copy_of_the_repository(folder: Path) -> Path:
    """What git knows of it, as it is now."""
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
def background(
    command: list[str], ready_url: str, cwd: Path, env: dict[str, str], logs: Path
) -> Iterator[None]:
    """A server that answers at a URL, or whose port is open (`tcp://127.0.0.1:9000`), until the end."""
    log = logs / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
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


class Terminal:
    """A shell whose exports stay; `ports` stand for the numbers that commands name."""

    def __init__(self, folder: Path, ports: dict[str, str], **variables: str) -> None:
        own = ("MLFLOW_", "MAPPER_", "AWS_", "PROTO_MODEL_", "MLSERVER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        self.env = kept | variables
        self._folder = folder
        self._ports = ports
        self._logs = folder.parent / f"logs-{folder.name}"
        self._logs.mkdir(exist_ok=True)

    def type(self, block: str, expected: int = 0, timeout_s: float = 900) -> str:
        """What a block says on both channels, once it has ended as expected."""
        variables = self._logs / "variables"
        script = f"{self._with_ports(block)}\nenv -0 > {shlex.quote(str(variables))}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
        assert done.returncode == expected, f"{block}\n{done.stdout[-6000:]}"
        if expected == 0:
            pairs = (line.split("=", 1) for line in variables.read_text().split("\0") if line)
            self.env = {name: value for name, value in pairs if name not in ("_", "SHLVL", "PWD")}
        return done.stdout

    @contextlib.contextmanager
    def serving(self, block: str, ready_url: str) -> Iterator[None]:
        """A server that a block starts, until the end; its port is free again then."""
        url = self._with_ports(ready_url)
        shell = ["bash", "-euo", "pipefail", "-c", self._with_ports(block)]
        with background(shell, url, self._folder, self.env, self._logs):
            yield
        deadline = time.monotonic() + 60
        while _answers(f"tcp://{urlsplit(url).netloc}"):
            assert time.monotonic() < deadline, f"still there: {block}"
            time.sleep(0.05)

    def _with_ports(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(self._ports)})\b", lambda found: self._ports[found[0]], text)
