"""Servers that a deployment runs: how each is started, and what it says of itself."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from proto_model.addresses import refused_address
from proto_model.deployment.plugin.config import OPTIONS, PROCESS, value_of
from proto_model.deployment.plugin.errors import DeploymentError
from proto_model.deployment.plugin.processes import runs
from proto_model.deployment.plugin.records import Process
from proto_model.registry.tracking import without_credentials

_ASK_S = 5.0
_PAUSE_S = 0.1
_TAIL_BYTES = 2000
_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def url_of(config: Mapping[str, str], port: int) -> str:
    """Where a server is asked from this machine."""
    host = value_of(PROCESS, config, "host")
    return f"http://{_ANY.get(host, f'[{host}]' if ':' in host else host)}:{port}"


def command_of(model_uri: str, config: Mapping[str, str], port: int, build: Path) -> list[str]:
    """Command line of a server; MLServer's configuration is written to `build`."""
    here = ["--host", value_of(PROCESS, config, "host"), "-p", str(port)]
    server = value_of(PROCESS, config, "server")
    flags = _flags(config)
    if server == "mlserver":
        return [
            *(sys.executable, "-m", "proto_model", "mlserver", "--serve", model_uri, str(build)),
            *(*here, *flags),
        ]
    if server == "mlflow":
        return [
            *(sys.executable, "-m", "mlflow", "models", "serve", "-m", model_uri),
            *("--env-manager", "local", *here),
        ]
    return [sys.executable, "-m", "proto_model", "serve", "-m", model_uri, *here, *flags]


def _flags(config: Mapping[str, str]) -> list[str]:
    """Options for the command line of a server."""
    flags = []
    for name, option in OPTIONS[PROCESS].items():
        if option.is_server and name in config:
            flag = f"--{name.replace('_', '-')}"
            if name in ("access_log", "require_published"):
                flags.append(flag)
            elif name == "verify_key":
                flags += [f"{flag}={one}" for one in config[name].split(os.pathsep)]
            else:
                flags.append(f"{flag}={config[name]}")
    return flags


def environment_of() -> dict[str, str]:
    """Variables of a server: this process's, the registry that it uses, and the programs of its Python."""
    # MLflow looks for uvicorn there, also where nobody activated the environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "PATH": path}


def chosen_port(config: Mapping[str, str]) -> int:
    """The port asked for, or a free one; a DeploymentError says that nobody can listen there."""
    host, port = value_of(PROCESS, config, "host"), int(value_of(PROCESS, config, "port"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        refused = refused_address(host, port, error, port_option="-C port=N", host_option="-C host=ADDRESS")
        raise DeploymentError(str(refused)) from error


def page_of(config: Mapping[str, str], port: int) -> dict[str, Any] | None:
    """What a server that is ready says of its models, if anything; None if it is not."""
    path = "/ping" if value_of(PROCESS, config, "server") == "mlflow" else "/v2/health/ready"
    try:
        with urllib.request.urlopen(url_of(config, port) + path, timeout=_ASK_S) as answer:
            text = answer.read()
    except OSError:  # nobody listens yet, or the answer is an error
        return None
    try:
        page = json.loads(text)
    except ValueError:
        return {}
    return page if isinstance(page, dict) else {}


def wait_until_ready(process: Process, config: Mapping[str, str], log: Path, offset: int) -> dict[str, Any]:
    """What a server says once it is ready; a DeploymentError says why it is not, and how its log ends."""
    wait_s = float(value_of(PROCESS, config, "start_timeout_s"))
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if not runs(process):
            raise DeploymentError(f"The server ended before it was ready. {_tail(log, offset)}")
        page = page_of(config, process.port)
        if page is not None and runs(process):
            return page
        time.sleep(_PAUSE_S)
    raise DeploymentError(
        f"The server was not ready after {wait_s:g} s (-C start_timeout_s=N). {_tail(log, offset)}"
    )


def _tail(log: Path, offset: int) -> str:
    """How a log ends, from where this server began."""
    with log.open("rb") as file:
        file.seek(max(offset, log.stat().st_size - _TAIL_BYTES))
        text = without_credentials(file.read().decode(errors="replace").strip())
    return f"Its log {log} ends with:\n{text}" if text else f"Its log {log} is empty."
