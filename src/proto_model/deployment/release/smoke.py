"""A version answers before it is pushed: its services start as their images start them, and are asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from proto_model.deployment.release.errors import ReleaseError
from proto_model.parameters import FILE
from proto_model.registry.model_folder import BUNDLE, signature_of
from proto_model.schema import ModelSchema

_START_S = 120.0
_PAUSE_S = 0.1
_END_S = 40.0


def smoke_test(model: Path, version: str, say: Callable[[str], None]) -> None:
    """Start both services on the folder of a version, and ask them for a prediction.

    A version that takes files is only asked who it is: a prediction would need an object store.

    Raises
    ------
    ReleaseError
        If a service does not start, serves another version, or does not predict.
    """
    schema = ModelSchema.read(model / BUNDLE / "schema.json")
    takes_files = signature_of(model) == FILE
    server, mapper = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    with contextlib.ExitStack() as services:
        command = ["proto_model", "container", "serve", "--host", "127.0.0.1"]
        variables = {"AZUREML_MODEL_DIR": str(model), "PORT": server.rpartition(":")[2]}
        services.enter_context(_started(command, variables, f"{server}/ping"))
        served = _served_version(server, schema.model_name)
        if served != version:
            raise ReleaseError(f"The server of version {version} says that it serves version {served}.")
        say(f"Model server: serves version {served}")
        # A setting of this shell is for another mapper.
        command = ["mapper", "serve", "--schema", str(model / "mapper" / "schema.json")]
        command += ["--model-server-url", server, "--host", "127.0.0.1", "--port", mapper.rpartition(":")[2]]
        services.enter_context(_started(command, {}, f"{mapper}/readyz"))
        if takes_files:
            say("A version for files: no prediction is asked for")
            return
        for flags in (["--url", server], ["--url", mapper, "--mapper"]):
            _predict(flags)
            say(f"{'Mapper' if '--mapper' in flags else 'Model server'}: predicts")


def _predict(flags: list[str]) -> None:
    """What run_proto_model_invocation.py does."""
    command = [sys.executable, "-m", "proto_model", "invoke", *flags, "--wait-s", "10"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise ReleaseError(f"No prediction from {flags[1]}: {' '.join(done.stderr.split())[-800:]}")


def _served_version(url: str, name: str) -> str:
    with urllib.request.urlopen(f"{url}/v2/models/{name}", timeout=10) as answer:
        versions: list[str] = json.load(answer).get("versions") or ["-"]
    return versions[0]


@contextlib.contextmanager
def _started(command: list[str], variables: dict[str, str], health_url: str) -> Iterator[None]:
    """A service until the block ends; it answers at a URL."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAPPER_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            reason = _waited(process, health_url)
            if reason:
                log.seek(0)
                said = log.read().decode(errors="replace")[-1500:].strip()
                raise ReleaseError(f"The version's {command[0]} {reason}. Its log ends with:\n{said}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _waited(process: subprocess.Popen[bytes], url: str) -> str:
    """Why a service does not answer with 200; nothing when it does."""
    end = time.monotonic() + _START_S
    reason = "does not answer"
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=10):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                reason = f"answers {error.code}: {error.read(300).decode(errors='replace').strip()}"
        except OSError:
            pass  # it does not listen yet
        time.sleep(_PAUSE_S)
    return f"was not ready after {_START_S:g} s: it {reason}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
