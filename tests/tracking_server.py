"""A real `mlflow server` on a free port, which may ask for name and password."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.stores import fresh_store
from tests.terminal import START_S

ADMIN, ADMIN_PASSWORD = "admin", "a password of more than twelve letters"

# By default the server hashes the password anew for each request, which takes half of a test's time.
_AUTH = """[mlflow]
default_permission = READ
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
    folder: Path, *, basic_auth: bool = False, store: str = "", port: int | None = None
) -> Iterator[int]:
    """A real `mlflow server`, of a new store unless one is given; its port."""
    port = port or free_port()
    store = store or fresh_store(folder)
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store]
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    if basic_auth:
        (folder / "settings.ini").write_text(_AUTH)
        command += ["--app-name", "basic-auth"]
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
