"""`scripts/demo.py` as a user runs it: real training, real servers, real ports."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stores import fresh_store

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.system


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _demo(store: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "demo.py"), "--store", str(store), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _open_ports(output: str) -> list[int]:
    """Ports on which a server that the demo called ready still listens."""
    ports = {int(port) for port in re.findall(r"ready \w+://127\.0\.0\.1:(\d+)", output)}
    assert len(ports) == 4, output
    still_open = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                still_open.append(port)
    return still_open


def test_the_demo_shows_every_step_avoids_a_busy_port_and_stops_its_servers(
    tmp_path: Path, busy_port: int
) -> None:
    options = [
        "--dataset",
        "iris",
        "--n-candidates",
        "1",
        "--model-port",
        str(busy_port),
        "--mapper-port",
        "0",
        "--object-store-port",
        "0",
        "--file-model-port",
        "0",
    ]
    fresh_store(tmp_path)
    with _demo(tmp_path, *options) as demo:
        output, _ = demo.communicate(timeout=900)

    assert demo.returncode == 0, output
    assert f"Port {busy_port} is in use" in output
    for shown in (
        "random_forest_balanced",
        "champion",
        "/v1/predict",
        "/v1/explain",
        "IF ",
        "THEN ",
        "\u2588",
    ):
        assert shown in output
    answer = json.loads((tmp_path / "demo" / "explain.json").read_text(encoding="utf-8"))["answer"]
    assert answer["model"]["version"] in ("1", "2", "3")
    assert "explanation" in answer["predictions"][0]
    picture = tmp_path / "demo" / "explanation.svg"
    assert f"The explanation as a picture: {picture}" in output
    assert picture.read_text(encoding="utf-8").startswith("<svg ")
    assert "mlflow ui --backend-store-uri" in output
    assert "predictions.csv: 100,000 rows, 0 of them rejected; csv, " in output
    assert "  id,prediction,probability,probability_setosa," in output
    assert len((tmp_path / "demo" / "predictions.csv").read_text().splitlines()) == 100_001
    assert not any(path.is_file() for path in (tmp_path / "demo" / "store").rglob("*"))
    assert _open_ports(output) == []
    assert _mapper_with_its_defaults(tmp_path) == (200, {"status": "alive"})


def _mapper_with_its_defaults(store: Path) -> tuple[int, Any]:
    """Answer to a health check by `mapper serve` in the folder of a store; only the port is chosen."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAPPER_", "MLFLOW_"))}
    command = [sys.executable, "-m", "mapper", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=store, env=env, stderr=subprocess.PIPE, text=True) as mapper:
        assert mapper.stderr is not None
        lines = []
        try:
            for line in mapper.stderr:
                lines.append(line)
                if "listening on " in line:
                    with urllib.request.urlopen(
                        line.split("listening on ")[1].strip() + "/healthz"
                    ) as answer:
                        return answer.status, json.load(answer)
        finally:
            mapper.terminate()
    raise AssertionError("".join(lines))


def test_ctrl_c_twice_during_the_training_leaves_nothing_running(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lines = [f"{i},{i % 7},{'yes' if i % 3 else 'no'}" for i in range(500)]
    table.write_text("\n".join(["a,b,target", *lines]))

    with _demo(tmp_path, "--dataset", str(table), "--n-candidates", "50") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "fits" in line:
                demo.send_signal(signal.SIGINT)
                demo.send_signal(signal.SIGINT)
                break
        rest = demo.stdout.read()
        demo.wait(timeout=60)

    assert demo.returncode == 130, rest
    assert "Interrupted" in rest
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [command for command in running.splitlines() if str(table) in command] == []
