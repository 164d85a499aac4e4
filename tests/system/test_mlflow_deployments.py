"""`mlflow deployments -t proto-model` for real: servers that outlive the command, versions, and their end."""

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.deployments import get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.deployments.interface import plugin_store
from mlflow.exceptions import MlflowException

from proto_model.deployment.image.oci import Image
from proto_model.deployment.plugin import file_targets
from proto_model.deployment.plugin.processes import runs
from proto_model.deployment.plugin.records import Records
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.publishing import make_keys, publish
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from tests.file_servers import wait_until
from tests.ports import free_ports
from tests.stores import fresh_store
from tests.trainings import no_modules

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
ROOT = Path(__file__).parents[2]
GROUP = "mlflow.deployments"
CHAMPION = "models:/people@champion"
ROWS = [{"size": 2.0, "age": 40.0}, {"size": -2.0, "age": 40.0}]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """URI of a registry: versions 1, the champion, and 2 say the opposite; 3 has another schema."""
    folder = tmp_path_factory.mktemp("registry")
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({name: rng.normal(size=120).round(3) for name in ("size", "age")})
    frame["class"] = (frame["size"] > 0).astype(int)
    data, other = (
        prepare(RawTable("people", "people", pa.Table.from_pandas(part, preserve_index=False)))
        for part in (frame, frame.drop(columns="age"))
    )
    with pytest.MonkeyPatch.context() as patch:
        uri = fresh_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        experiment = mlflow.create_experiment("people", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment), no_modules():
            for of, y in ((data, data.y_train), (data, 1 - data.y_train), (other, other.y_train)):
                pipeline = make_pipeline("random_forest", of.schema, 0, n_estimators=5)
                info = log_forest_model(pipeline.fit(of.X_train, y), of)
                register_version(info.model_uri, "people", tags={})
        MlflowClient().set_registered_model_alias("people", "champion", "1")
        yield uri
        mlflow.set_tracking_uri(None)


class Shell:
    """Runs `mlflow deployments`; in this process, which saves seconds, or as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(os.environ)
        self.folder = folder

    def run(self, verb, *arguments, target="proto-model"):
        """What a command that succeeds prints."""
        done = CliRunner().invoke(commands, [verb, "-t", target, *arguments])
        assert done.exit_code == 0, done.exception
        return done.output

    def fails(self, verb, *arguments, target="proto-model"):
        """What a command fails with."""
        done = CliRunner().invoke(commands, [verb, "-t", target, *arguments])
        assert isinstance(done.exception, MlflowException), done.output
        return str(done.exception)

    def command(self, verb, *arguments):
        return [sys.executable, "-m", "mlflow", "deployments", verb, "-t", "proto-model", *arguments]

    def variables(self):
        """Environment in which the plugin is installed, as pip does it for pyproject.toml."""
        installed = self.folder / "installed" / "proto_model_plugin-0.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: proto_model_plugin\nVersion: 0\n")
        group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
        lines = [f"{name} = {module}" for name, module in group.items()]
        (installed / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        return os.environ | {"PYTHONPATH": os.pathsep.join([str(installed.parent), str(ROOT / "src")])}


@pytest.fixture
def shell(registry, tmp_path, monkeypatch):
    """A shell, after which no deployment is left."""
    monkeypatch.setenv("PROTO_MODEL_DEPLOYMENTS", str(tmp_path / "deployments"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setitem(
        plugin_store.registry,
        "proto-model",
        EntryPoint("proto-model", "proto_model.deployment.plugin", GROUP),
    )
    found = Shell(tmp_path)
    yield found
    for record in found.records.all():
        found.run("delete", "--name", record.name, target=f"proto-model:{record.target}")


def rows_of(shell):
    path = shell.folder / "rows.json"
    path.write_text(json.dumps(ROWS))
    return str(path)


def prediction(port):
    body = json.dumps({"dataframe_records": ROWS}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["x-model-version"], [
            row["prediction"] for row in json.load(answer)["predictions"]
        ]


def test_a_deployment_is_made_asked_changed_and_ended(shell, registry):
    first, second = free_ports(2)
    rows = rows_of(shell)
    client = MlflowClient(registry)
    client.set_registered_model_alias("people", "champion", "1")

    # By a command that ends: the others find what it left.
    options = ("-C", "server=lean", "-C", f"port={first}", "-C", "follow=3600")
    said = subprocess.run(
        shell.command("create", "--name", "churn", "-m", CHAMPION, *options),
        env=shell.variables(), cwd=shell.folder, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert "python_function deployment churn is created" in said.stdout, said.stderr
    made = shell.records.get("churn")
    assert "already" in shell.fails("create", "--name", "churn", "-m", CHAMPION)
    assert "'churn'" in shell.run("list")
    described = shell.run("get", "--name", "churn")
    assert "state: ready" in described
    assert f"url: http://127.0.0.1:{first}" in described
    answer = json.loads(shell.run("predict", "--name", "churn", "-I", rows))
    assert [row["prediction"] for row in answer["predictions"]] == prediction(first)[1]
    explained = json.loads(shell.run("explain", "--name", "churn", "-I", rows))
    assert ["size" in one["rule"]["text"] for one in explained] == [True, True]

    client.set_registered_model_alias("people", "champion", "2")
    assert "without a restart" in shell.run("update", "--name", "churn")
    assert prediction(first)[0] == "2"
    assert shell.records.get("churn").process == made.process
    client.set_registered_model_alias("people", "champion", "3")
    assert "goes on with version 2" in shell.fails("update", "--name", "churn")

    client.set_registered_model_alias("people", "champion", "1")
    assert "beside" in shell.run("update", "--name", "churn", "-C", f"port={second}")
    assert prediction(second)[0] == "1"
    assert not runs(made.process)

    options = ("-m", "models:/people/2", "-C", "follow=", "-C", "max_rows=1")
    assert "ends before" in shell.run("update", "--name", "churn", *options)
    assert "2 rows" in shell.fails("predict", "--name", "churn", "-I", rows)
    running = shell.records.get("churn")
    assert running.version == "2"
    assert "follow" not in running.config
    shell.run("delete", "--name", "churn")
    shell.run("delete", "--name", "churn")
    assert not runs(running.process)
    assert shell.records.all() == []


def test_a_server_that_does_not_start_leaves_nothing_and_says_why(shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = shell.fails("create", "--name", "a", "-m", CHAMPION, "-C", f"port={port}")
        assert f"Cannot listen on 127.0.0.1:{port}: the address is in use. Choose another port" in said
    folder = shell.folder / "empty"
    folder.mkdir()
    said = shell.fails("create", "--name", "a", "-m", str(folder), "-C", "port=0")

    assert "ended before it was ready" in said
    assert "error: " in said.partition("ends with:")[2]
    assert shell.records.all() == []


def test_a_deployment_is_one_of_published_versions_where_that_is_asked(shell, tmp_path):
    private, public = make_keys(tmp_path / "keys")
    create = (
        "create",
        "--name",
        "churn",
        "-m",
        "models:/people/2",
        "-C",
        "port=0",
        "-C",
        f"verify_key={public}",
    )

    assert "Version 2 of 'people' is not published" in shell.fails(*create)
    publish("models:/people/2", key=private)
    shell.run(*create)
    assert prediction(shell.records.get("churn").process.port)[0] == "2"


def test_an_update_that_fails_leaves_the_old_server(shell):
    shell.run("create", "--name", "churn", "-m", "models:/people/1", "-C", "port=0")
    before = shell.records.get("churn")
    folder = shell.folder / "empty"
    folder.mkdir()

    assert "goes on as it was" in shell.fails("update", "--name", "churn", "-m", str(folder))
    assert shell.records.get("churn") == before
    fixed = f"port={before.process.port}"
    assert "runs as before" in shell.fails("update", "--name", "churn", "-m", str(folder), "-C", fixed)
    assert prediction(shell.records.get("churn").process.port)[0] == "1"


def test_of_two_creates_at_once_one_wins_and_a_killed_server_is_told_as_stopped(shell):
    def create(_):
        try:
            return get_deploy_client("proto-model").create_deployment(
                "churn", "models:/people/1", config={"port": 0}
            )
        except MlflowException as error:
            return str(error)

    with ThreadPoolExecutor() as both:
        said = list(both.map(create, range(2)))
    (loser,) = (one for one in said if isinstance(one, str))
    assert "churn" in loser

    process = shell.records.get("churn").process
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not runs(process))
    assert "state: stopped" in shell.run("get", "--name", "churn")
    assert "is stopped" in shell.fails("predict", "--name", "churn", "-I", rows_of(shell))
    assert "started again" in shell.run("update", "--name", "churn")
    assert prediction(shell.records.get("churn").process.port)[0] == "1"


def test_an_image_is_built_of_the_version_behind_the_alias(shell, registry, monkeypatch):
    built = []

    def build_image(recipe, path, options, say):  # minutes of work; tests/system/test_image.py does it
        built.append((recipe.server, recipe.version, path, options.reference))
        return Image(path, "sha256:0", ())

    monkeypatch.setattr(file_targets, "build_image", build_image)
    MlflowClient(registry).set_registered_model_alias("people", "champion", "2")
    options = ("-C", "out=build/image.tar", "-C", "tag=churn:2")

    image = "proto-model:image"
    shell.run("create", "--name", "image", "-m", CHAMPION, *options, target=image)
    described = shell.run("get", "--name", "image")
    assert built == [("lean", "2", Path("build/image.tar").absolute(), "churn:2")]
    assert "state: written" in described
    assert "digest: sha256:0" in described


def test_run_local_serves_in_the_foreground(shell):
    (port,) = free_ports(1)
    code = (
        "import sys; from proto_model.deployment.plugin import run_local;"
        "run_local(*sys.argv[1:3], None, {'port': sys.argv[3]})"
    )
    command = [sys.executable, "-c", code, "local", "models:/people/1", str(port)]
    with subprocess.Popen(
        command, cwd=shell.folder, stderr=subprocess.PIPE, start_new_session=True
    ) as server:

        def answers():
            try:
                return prediction(port)[0] == "1"
            except OSError:
                return False

        try:
            wait_until(answers, in_vain=lambda: server.stderr.read().decode() if server.poll() else None)
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.communicate(timeout=60)
    assert server.returncode == 0
    assert shell.records.all() == []
