"""The three servers of a model for files, and a mapper before one, as processes of the tests."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from proto_model.serving.mlserver.configs import write_mlserver_configs
from tests.environments import environment
from tests.ports import free_ports
from tests.terminal import START_S

__all__ = [
    "ROOT",
    "Kind",
    "Server",
    "get",
    "mapping",
    "mlserver_python",
    "post",
    "serving",
    "wait_until",
]

ROOT = Path(__file__).parents[1]
DRAIN_S = 1

Kind = Literal["mlflow", "lean", "mlserver"]


@dataclasses.dataclass
class Server:
    """A server that answers.

    Parameters
    ----------
    kind : {"mlflow", "lean", "mlserver"}
        `mlflow models serve`, `python -m proto_model serve`, or MLServer.
    process : Popen
        Leads a process group of its own.
    url, metrics_url : str
        `metrics_url` is empty where there are none.
    log, temp : Path
        All that it writes to its terminal; the folder of the temporary files.
    """

    kind: Kind
    process: subprocess.Popen[bytes]
    url: str
    metrics_url: str
    log: Path
    temp: Path

    def invoke(self, *jobs: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
        """Summaries of jobs."""
        _, answer = post(f"{self.url}/invocations", {"dataframe_records": list(jobs), "params": params})
        return list(answer["predictions"])


def post(url: str, body: Any) -> tuple[int, Any]:
    """Status and content of an answer; text where it is no JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def get(url: str) -> str:
    """Text at a URL."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def serving(kind: Kind, model: Path, folder: Path, **settings: str) -> Iterator[Server]:
    """One of the servers, with environment variables, until the block ends; it is killed then."""
    port, *others = free_ports(3)
    temp = folder / "temp"
    temp.mkdir(exist_ok=True)
    variables = settings | {"PROTO_MODEL_FILES_TEMP_DIR": str(temp)}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    url = f"http://127.0.0.1:{port}"
    metrics_url = ""
    if kind == "mlflow":
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "-p", port]
        command += ["-h", "127.0.0.1", "--env-manager", "local"]
    elif kind == "lean":
        command = [sys.executable, "-m", "proto_model", "serve", "-m", model, "-p", port, "--access-log"]
        command += ["--drain-timeout-s", DRAIN_S]
        variables["PYTHONPATH"] = str(ROOT / "src")
        metrics_url = f"{url}/metrics"
    else:
        ports = zip(("HTTP", "GRPC", "METRICS"), (port, *others), strict=True)
        numbers = {f"MLSERVER_{name}_PORT": str(number) for name, number in ports}
        copy = shutil.copytree(model, folder / "model")
        limits = {"PROTO_MODEL_SERVER_DRAIN_TIMEOUT_S": str(DRAIN_S)}
        write_mlserver_configs(copy, folder / "build", numbers | limits)
        command = [mlserver_python(model).with_name("mlserver"), "start", folder / "build"]
        variables["PYTHONPATH"] = ""
        metrics_url = f"http://127.0.0.1:{others[1]}/metrics"
    log = folder / "server.log"
    with _started(command, log, cwd=folder, **variables) as process:
        # Without the model, MLServer answers 404.
        wait_until(lambda: _answers(f"{url}/ping"), START_S, lambda: _ended(process, log))
        yield Server(kind, process, url, metrics_url, log, temp)


@contextlib.contextmanager
def mapping(model: Path, server_url: str, folder: Path, signature: str = "file") -> Iterator[str]:
    """URL of a mapper service before a model server, until the block ends; its log is `folder/mapper.log`."""
    command = [sys.executable, "-m", "mapper", "serve", "--schema", model / "mapper" / "schema.json"]
    command += ["--model-server-url", server_url, "--signature", signature, "--port", 0]
    command += ["--log-level", "debug"]
    log = folder / "mapper.log"
    with _started(command, log, cwd=folder, PYTHONPATH=str(ROOT)) as process:
        wait_until(lambda: "listening on" in log.read_text(), START_S, lambda: _ended(process, log))
        yield log.read_text().split("listening on ")[1].split()[0]


def mlserver_python(model: Path) -> Path:
    """Python with MLServer and what a model requires; made once per set of requirements."""
    lists = model / "requirements.txt", ROOT / "requirements-dev-modelserver.txt"
    return environment("mlserver", *lists, constraints=ROOT / "constraints.txt") / "python"


def wait_until(
    holds: Callable[[], bool], seconds: float = 60.0, in_vain: Callable[[], str | None] = lambda: None
) -> None:
    """Wait for something to hold; fails when it takes too long, or there is a reason why it will not."""
    until = time.monotonic() + seconds
    while not holds():
        assert not (reason := in_vain()), reason
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


@contextlib.contextmanager
def _started(command: list[Any], log: Path, cwd: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | variables,
            cwd=cwd,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _ended(process: subprocess.Popen[bytes], log: Path) -> str | None:
    return None if process.poll() is None else f"it ended: {log.read_text()}"
