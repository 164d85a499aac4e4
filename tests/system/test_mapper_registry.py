"""The registry connector against a real MLflow server, with a real model version in it."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request

import mlflow
import pytest

from mapper import MlflowRegistryConnector
from mapper.cli.main import main
from mapper.errors import RegistryError, SchemaError
from mapper.model_server.proxy import Reply
from mapper.registry.server import RegistryServer
from tests.ports import free_port
from tests.stores import fresh_store
from tests.terminal import START_S

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FEATURE = {"name": "a", "type": "double", "nullable": True, "minimum": 0, "maximum": 1, "median": 0.5}
SCHEMA = {
    "schema_version": "1.0",
    "model_name": "tiny",
    "target": {"name": "t", "type": "long"},
    "classes": [0, 1],
    "features": [FEATURE],
}
MAPPING = b"mapping: 1\nunits: {percent: {factor: 0.01}}\nrequest: {share: {feature: a, unit: percent}}\n"


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--backend-store-uri", fresh_store(folder)],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(10 * START_S):
            assert server.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def model(mlflow_url, tmp_path_factory):
    """A version of `tiny` with mapper files, logged as training logs them."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "mapper").mkdir()
    (folder / "mapper" / "schema.json").write_text(json.dumps(SCHEMA))
    (folder / "mapper" / "mapping.yaml").write_bytes(MAPPING)
    (folder / "mapper" / "requirements.txt").write_text("")
    (folder / "MLmodel").write_text("flavors: {}\n")
    mlflow.set_tracking_uri(mlflow_url)
    try:
        client = mlflow.MlflowClient()
        run = client.create_run("0")
        logged = client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        output = mlflow.entities.LoggedModelOutput(logged.model_id, 0)
        client.log_outputs(run.info.run_id, [output])
        client.create_registered_model("tiny")
        version = client.create_model_version(
            "tiny",
            f"models:/{logged.model_id}",
            run.info.run_id,
            tags={"signature": "rows"},
            model_id=logged.model_id,
        )
        client.set_registered_model_alias("tiny", "champion", version.version)
        client.log_artifacts(run.info.run_id, str(folder), "old")
        yield {"run_id": run.info.run_id, "model_id": logged.model_id}
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("uri", "version", "signature"),
    [
        ("models:/tiny@champion", "1", "rows"),
        ("models:/tiny/1", "1", "rows"),
        ("models:/{model_id}", None, None),
        ("runs:/{run_id}/model", None, None),
        ("runs:/{run_id}/old", None, None),
    ],
)
def test_every_way_to_name_a_version_gives_its_schema(mlflow_url, model, uri, version, signature):
    published = MlflowRegistryConnector(mlflow_url, {}).fetch(uri.format(**model))

    assert published.schema.content == SCHEMA
    assert (published.version, published.signature) == (version, signature)
    assert published.files == ({} if uri.endswith("old") else {"mapping.yaml": MAPPING})


def test_the_version_that_explains_another_is_found_by_its_tags(mlflow_url, model):
    client = mlflow.MlflowClient()
    name = "it's tiny"
    for registered, tags in (
        (name, {}),
        (f"{name}_explainer", {"explained_model": name, "explained_version": "1"}),
        (f"{name}_explainer", {"explained_model": name, "explained_version": "1", "signature": "file"}),
        (f"{name}_explainer", {"explained_model": name, "explained_version": "2"}),
    ):
        with contextlib.suppress(mlflow.exceptions.MlflowException):
            client.create_registered_model(registered)
        source = f"models:/{model['model_id']}"
        client.create_model_version(registered, source, tags=tags, model_id=model["model_id"])
    connector = MlflowRegistryConnector(mlflow_url, {})

    assert connector.explainer_of(name, "1") == "2"
    assert connector.explainer_of(name, "2") == "3"
    assert connector.explainer_of(name, "9") is None
    assert connector.explainer_of("tiny", "1") is None
    explainer = connector.fetch(f"models:/{name}_explainer/2")
    assert (explainer.signature, explainer.explains) == ("rows", True)
    tango = connector.get_model(f"models:/{name}_explainer/2")
    assert tango.map_request({"data": {"share": 50}})["params"] == {"explain": True}


def test_a_model_from_the_registry_maps_requests(mlflow_url, model):
    tango = MlflowRegistryConnector(mlflow_url, {}).get_model("models:/tiny@champion")

    assert tango.map_request({"data": {"share": 50}}) == {
        "inputs": {"a": [0.5]}
    }  # in the words of its mapping
    assert tango.answers.model == {"name": "tiny", "version": "1"}


@pytest.mark.parametrize(
    "uri",
    [
        "models:/tiny@nobody",
        "models:/tiny/9",
        "models:/none@champion",
        "models:/m-0",
        "runs:/0/model",
        "tiny",
        "models:/tiny",
        "models:/tiny/latest",
    ],
)
def test_what_is_not_there_is_said(mlflow_url, model, uri):
    name = uri.split("/")[1].partition("@")[0] if "/" in uri else uri

    with pytest.raises(RegistryError, match=name):
        MlflowRegistryConnector(mlflow_url, {}).fetch(uri)


def test_the_command_line_shows_a_schema_from_the_registry(mlflow_url, model, capsys):
    assert main(["schema", "--registry-url", mlflow_url, "--model", "tiny@champion"]) == 0
    assert "tiny predicts t: 0, 1" in capsys.readouterr().out


@pytest.mark.parametrize("uri", ["models:/tiny@champion", "models:/tiny/1", "runs:/abc/model"])
def test_an_answer_without_what_mlflow_always_gives_is_told(uri, monkeypatch):
    connector = MlflowRegistryConnector("http://127.0.0.1:9", {})
    monkeypatch.setattr(RegistryServer, "_get", lambda self, path, what: Reply(200, {}, b"{}"))

    with pytest.raises(RegistryError, match="is not an MLflow server"):
        connector.fetch(uri)


def test_a_server_that_is_not_mlflow_is_told(mlflow_url):
    with pytest.raises(RegistryError, match="does not answer"):
        MlflowRegistryConnector("http://127.0.0.1:9", {}).fetch("models:/tiny/1")
    with pytest.raises((RegistryError, SchemaError)):
        MlflowRegistryConnector(f"{mlflow_url}/nowhere", {}).fetch("models:/tiny/1")
