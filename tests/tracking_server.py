"""A real `mlflow server` on a free port, which may ask for name and password, or lock published versions."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.stores import ROOT, fresh_store
from tests.terminal import START_S

ADMIN, ADMIN_PASSWORD = "admin", "a password of more than twelve letters"

# By default the server hashes the password anew for each request, which takes half of a test's time.
AUTH = """[mlflow]
default_permission = {default}
database_uri = sqlite:///basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 3600
"""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without MLflow's variables, with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {"PATH": path} | variables


@contextlib.contextmanager
def tracking_server(
    folder: Path,
    *,
    app: str = "",
    default: str = "READ",
    settings: str = AUTH,
    store: str = "",
    port: int | None = None,
) -> Iterator[int]:
    """A real `mlflow server`; its port.

    `app` is one of MLflow's or of this project's, which comes in a wheel. With basic-auth, `default` is what
    everybody may do, and `settings` are the server's. It has a new store unless one is given.
    """
    port = port or free_port()
    store = store or fresh_store(folder)
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store]
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    if app:
        command += ["--app-name", app]
        variables["PYTHONPATH"] = str(_wheel(folder))
    if "auth" in app:
        (folder / "settings.ini").write_text(settings.format(default=default))
        variables |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "settings.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for the tests",
        }
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment(**variables), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_S
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        pytest.fail((folder / "server.log").read_text())
                    time.sleep(0.2)
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _wheel(folder: Path) -> Path:
    """A wheel of this project as far as Python reads one in place: modules and entry points."""
    wheel = folder / "proto_model.whl"
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["mlflow.app"]
    lines = [f"{name} = {function}" for name, function in group.items()]
    about = "proto_model_turbo-0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        for path in (ROOT / "src" / "proto_model").rglob("*.py"):
            file.write(path, path.relative_to(ROOT / "src"))
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: proto-model-turbo\nVersion: 0\n")
        file.writestr(f"{about}/entry_points.txt", "\n".join(["[mlflow.app]", *lines, ""]))
    return wheel


@contextlib.contextmanager
def user(name: str, password: str = ADMIN_PASSWORD) -> Iterator[None]:
    """Who asks MLflow's server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", name)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        yield


def create_user(url: str, name: str, password: str = ADMIN_PASSWORD) -> None:
    """Have the administrator make a user."""
    token = base64.b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/users/create",
        json.dumps({"username": name, "password": password}).encode(),
        {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).close()
