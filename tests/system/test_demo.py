"""`scripts/demo.py` as a user runs it: real training, real servers, real ports."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _demo(store: Path, port: int) -> subprocess.Popen[str]:
    options = ["--dataset", "iris", "--n-candidates", "1", "--store", str(store)]
    options += ["--model-port", str(port), "--mapper-port", "0"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "demo.py"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _open_ports(output: str) -> list[int]:
    """Ports on which a server that the demo called ready still listens."""
    ports = {int(port) for port in re.findall(r"ready http://127\.0\.0\.1:(\d+)", output)}
    assert len(ports) == 2, output
    still_open = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                still_open.append(port)
    return still_open


def test_the_demo_shows_every_step_avoids_a_busy_port_and_stops_its_servers(
    store: Path, busy_port: int
) -> None:
    with _demo(store, busy_port) as demo:
        output, _ = demo.communicate(timeout=240)

    assert demo.returncode == 0, output
    assert f"Port {busy_port} is in use" in output
    for shown in ("random_forest_balanced", "champion", "/v1/predict", "/v1/explain", '"prediction"', "IF "):
        assert shown in output
    assert "mlflow ui --backend-store-uri" in output
    assert _open_ports(output) == []


def test_ctrl_c_while_the_servers_run_stops_them(store: Path, busy_port: int) -> None:
    lines = []
    with _demo(store, busy_port) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            lines.append(line)
            if "readyz" in line and "ready" in line.split("http")[0]:
                demo.send_signal(signal.SIGINT)
        demo.wait(timeout=60)

    output = "".join(lines)
    assert demo.returncode == 130, output
    assert _open_ports(output) == []
