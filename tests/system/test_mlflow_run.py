"""`mlflow run` as users type it: on embedded defaults, and against a server that asks for a password."""

import base64
import contextlib
import http.client
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.stores import fresh_store
from tests.tracking_server import environment, tracking_server

pytestmark = pytest.mark.system

PROJECT = Path(__file__).parents[2] / "src"
USER, PASSWORD = "ada", "correct horse"


def mlflow_run(folder, env, *parameters):
    options = [word for parameter in parameters for word in ("-P", parameter)]
    command = ["mlflow", "run", "--env-manager", "local", str(PROJECT), *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)


def run_to_serve(result):
    """Run in the last line that the training prints; MLflow itself may say something after it."""
    assert result.returncode == 0, result.stderr
    found = re.findall(r"^MLFLOW_RUN_ID=([0-9a-f]{32})$", result.stdout, re.MULTILINE)
    assert len(found) == 1, result.stdout
    return found[0]


def test_embedded_defaults_with_a_table_named_relative_to_the_callers_folder(tmp_path):
    (tmp_path / "data").mkdir()
    rows = "\n".join(f"{i % 17},{i % 5},{'ab'[i % 17 > 8]}" for i in range(90))
    (tmp_path / "data" / "small.csv").write_text(f"x,y,letter\n{rows}\n")

    result = mlflow_run(
        tmp_path, environment(), "dataset=data/small.csv", "target=letter", "n_candidates=1", "test_size=0.3"
    )

    run_id = run_to_serve(result)
    assert result.stdout.splitlines()[-1] == f"MLFLOW_RUN_ID={run_id}"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    child = client.get_run(run_id)
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["mlflow.project.entryPoint"] == "main"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["dataset"] == "data/small.csv"
    assert parent.data.params["test_size"] == "0.3"
    assert client.get_model_version_by_alias("proto_model", "challenger").run_id == run_id
    assert "Traceback" not in result.stderr
    assert not list(PROJECT.glob("ml*[bs]"))  # neither mlflow.db nor mlruns


@pytest.mark.parametrize(
    ("parameter", "complaint"),
    [("test_size=1.5", "'1.5' given, a number above 0"), ("nosuch=1", "unrecognized arguments: --nosuch 1")],
)
def test_wrong_parameters_fail_the_run_with_a_sentence(tmp_path, parameter, complaint):
    uri = fresh_store(tmp_path)

    result = mlflow_run(tmp_path, environment(), parameter)

    assert result.returncode != 0
    assert complaint in result.stderr
    (run,) = MlflowClient(uri).search_runs(["0"])
    assert run.info.status == "FAILED"


def test_a_server_over_http_with_name_and_password(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "client").mkdir()
    with tracking_server(tmp_path / "server") as port, guard(port) as guarded:
        env = environment(
            MLFLOW_TRACKING_URI=guarded.url,
            MLFLOW_TRACKING_USERNAME=USER,
            MLFLOW_TRACKING_PASSWORD=PASSWORD,
            MLFLOW_EXPERIMENT_NAME="irises",
        )
        result = mlflow_run(
            tmp_path / "client", env, "dataset=iris", "n_candidates=1", "registered_model_name=iris_model"
        )

        run_id = run_to_serve(result)
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("irises")
        child = client.get_run(run_id)
        challenger = client.get_model_version_by_alias("iris_model", "challenger")
        models = {
            client.get_logged_model(output.model_id).name: output.model_id
            for output in child.outputs.model_outputs
        }
        files = {item.path for item in client.list_logged_model_artifacts(models["model"])}
    assert child.info.experiment_id == experiment.experiment_id
    assert challenger.run_id == run_id
    assert {"MLmodel", "requirements.txt", "mapper"} <= files
    assert guarded.n_answered > 50
    assert guarded.n_refused == 0
    assert not list((tmp_path / "client").iterdir())
    assert PASSWORD not in result.stdout + result.stderr


class Guard(ThreadingHTTPServer):
    """Passes requests with the right name and password on to a port, and refuses all others."""

    daemon_threads = True
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), GuardHandler)
        self.port, self.n_answered, self.n_refused = port, 0, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class GuardHandler(BaseHTTPRequestHandler):
    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != self.server.expected:
            self.server.n_refused += 1
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("host", "authorization", "connection", "transfer-encoding")
        }
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        ) as server:
            server.request(self.command, self.path, body or None, headers)
            answer = server.getresponse()
            content = answer.read()
        self.server.n_answered += 1
        self.send_response(answer.status)
        for name in ("Content-Type", "Content-Disposition"):
            if answer.headers.get(name):
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def guard(port):
    server = Guard(port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
