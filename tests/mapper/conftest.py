"""A small schema, a model server that can be told to misbehave, and the service in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mapper import ModelSchema, TabularModel
from tests.terminal import START_S

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = {
    "schema_version": "1.0",
    "model_name": "penguins",
    "target": {"name": "species", "type": "string"},
    "classes": ["Adelie", "Gentoo"],
    "features": [
        {"name": "mass", "type": "double", "nullable": False, "minimum": 2.5, "maximum": 6.5, "median": 4.0},
        {"name": "eggs", "type": "long", "nullable": True, "minimum": 0.0, "maximum": 3.0, "median": 1.0},
        {
            "name": "ringed",
            "type": "boolean",
            "nullable": False,
            "minimum": 0.0,
            "maximum": 1.0,
            "median": 0.0,
        },
        {
            "name": "island",
            "type": "string",
            "nullable": True,
            "categories": ["Biscoe", "Dream"],
            "most_frequent": "Biscoe",
        },
    ],
}
RECORD = {"mass": 4.2, "eggs": 2, "ringed": True, "island": "Dream"}
EXPLANATION = {
    "prediction": "Gentoo",
    "probability": 0.75,
    "rule": {
        "premises": [{"feature": "mass", "above": 4.1}],
        "consequence": "Gentoo",
        "text": "mass > 4.1",
        "precision": 0.9,
        "coverage": 0.4,
    },
    "counterfactuals": [
        {
            "changes": [{"feature": "mass", "from": 4.2, "to": 4.0}],
            "prediction": "Adelie",
            "probability": 0.6,
            "valid": True,
            "distance": 0.2,
            "rule": None,
            "text": "mass 4.2 -> 4.0 gives Adelie",
        }
    ],
    "feature_importances": {"mass": 1.0, "eggs": 0.0, "ringed": 0.0, "island": 0.0},
    "fidelity": 0.95,
    "neighborhood": {"size": 100, "seed": 0},
    "engine": "lore",
    "notes": [],
}


@dataclass
class FakeModelServer:
    """A real HTTP server that answers as a model would, or as `answer` says."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    delay_s: float = 0.0
    resets: int = 0
    answer: Any = None
    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut: bool = False
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def reset(self) -> None:
        """Answer properly again, and forget."""
        kept = self.url
        self.__init__(kept)  # type: ignore[misc]

    def answer_to(self, request: dict[str, Any]) -> Any:
        """Every penguin is a Gentoo."""
        if self.answer is not None:
            return self.answer
        inputs = request.get("inputs", {})
        if "input_url" in inputs:
            return {"predictions": [{"file_id": None, "status": "done", "rows": 3}]}
        table = request.get("dataframe_split")
        n_rows = len(table["data"]) if table else len(next(iter(inputs.values())))
        row = {
            "prediction": "Gentoo",
            "probability": 0.75,
            "probability_Adelie": 0.25,
            "probability_Gentoo": 0.75,
        }
        params = request.get("params", {})
        if params.get("coverage"):
            row["prediction_set"] = ["Gentoo"]
        if params.get("explain"):
            row["explanation"] = EXPLANATION
        return {"predictions": [row] * n_rows}


def _handler(state: FakeModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_GET(self) -> None:
            self._send(200, b"\n")

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(request)
            state.headers.append(dict(self.headers))
            if state.resets:
                state.resets -= 1
                linger = struct.pack("ii", 1, 0)  # a reset rather than an orderly end
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return
            time.sleep(state.delay_s)
            state.may_answer.wait(20)
            content = state.answer_to(request)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self._send(state.status, body)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in state.answer_headers.items():
                self.send_header(name, value)
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in (body[:7], body[7:]):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    self.wfile.flush()
                    time.sleep(0.01)
                self.wfile.write(b"0\r\n\r\n")
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:5] if state.cut else body)
            self.close_connection = state.cut

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:  # a client that has gone away is no news
        pass


@contextlib.contextmanager
def _fake_model_server() -> Iterator[FakeModelServer]:
    state = FakeModelServer()
    server = _Server(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def _model_server() -> Iterator[FakeModelServer]:
    with _fake_model_server() as server:
        yield server


@pytest.fixture
def model_server(_model_server: FakeModelServer) -> FakeModelServer:
    _model_server.reset()
    return _model_server


@pytest.fixture(scope="session")
def schema() -> ModelSchema:
    return ModelSchema.from_dict(SCHEMA)


@pytest.fixture(scope="session")
def model(schema: ModelSchema) -> TabularModel:
    return TabularModel(schema, "7", max_rows=100)


@pytest.fixture(scope="session")
def schema_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.fixture(scope="session")
def record() -> dict[str, Any]:
    return dict(RECORD)


@dataclass
class Service:
    """A running mapper in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def call(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, Any]:
        """Status, body as JSON where it is, and headers."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, {k: v for k, v in given.items() if v})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, _read(response), response.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error), error.headers


def _read(response: Any) -> Any:
    body = response.read()
    return json.loads(body) if "json" in (response.headers["Content-Type"] or "") else body.decode()


@contextlib.contextmanager
def _service(folder: Path, python: str, *flags: str, **environ: str) -> Iterator[Service]:
    log = folder / "mapper.log"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAPPER_", "MLFLOW_"))}
    command = [python, "-m", "mapper", "serve", "--port", "0", *flags]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, text=True, cwd=ROOT, env={**env, **environ})
    try:
        deadline = time.monotonic() + START_S
        while "listening on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        url = log.read_text().split("listening on ")[1].split()[0]
        yield Service(url, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Starts a service with given flags and variables, in a `with`."""

    def start(*flags: str, python: str = sys.executable, **environ: str) -> Any:
        return _service(tmp_path_factory.mktemp("service"), python, *flags, **environ)

    return start


@pytest.fixture(scope="session")
def _running(start_service: Any, _model_server: FakeModelServer, schema_path: Path) -> Iterator[Service]:
    flags = ["--predict-timeout-s", "1", "--max-rows", "5000", "--max-body-bytes", "2000000"]
    with start_service(
        "--model-server-url", _model_server.url, "--schema", str(schema_path), *flags
    ) as service:
        yield service


@pytest.fixture
def service(_running: Service, model_server: FakeModelServer) -> Service:
    """The service in front of `model_server`, which answers properly until it is told otherwise."""
    return _running
