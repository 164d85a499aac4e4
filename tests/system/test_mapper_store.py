"""The mapper on the store that training leaves on this machine, in front of real servers."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import jsonschema
import mlflow
import pytest

from mapper import MlflowRegistryConnector, ModelServerProxy, RequestType
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.registry.versions import register_version
from proto_model.table import load_training_data
from proto_model.training import make_pipeline
from tests.ports import free_port
from tests.stores import fresh_store
from tests.terminal import START_S

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),  # mlflow 3.17, input examples
]
ROOT = Path(__file__).resolve().parents[2]
EXPLAINER = "models:/proto_model_explainer@champion"
RECORD = {
    "sepal length (cm)": 5.1,
    "sepal width (cm)": 3.5,
    "petal length (cm)": 1.4,
    "petal width (cm)": 0.2,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Folder with `mlflow.db` and `mlruns`, as MLflow makes them; model and explainer are champions."""
    folder = tmp_path_factory.mktemp("store") / "mäpper's store #1"
    folder.mkdir()
    fresh_store(folder)
    data = load_training_data("iris", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        with mlflow.start_run() as run:
            models = log_forest_model(pipeline, data), log_explainer(pipeline, data)
        explains = {"explained_model": "proto_model", "explained_version": "2"}
        versions = (
            (models[0], "proto_model", {"signature": "rows"}),
            (models[0], "proto_model", {"signature": "rows"}),
            (
                models[1],
                "proto_model_explainer",
                {"explained_model": "proto_model", "explained_version": "1"},
            ),
            (models[1], "proto_model_explainer", explains),
            (models[1], "proto_model_explainer", explains | {"signature": "file"}),  # as 0.2.0 had it
        )
        for model, name, tags in versions:
            register_version(model.model_uri, name, run_id=run.info.run_id, tags=tags, alias="champion")
    return folder


@contextlib.contextmanager
def running(folder, ready, *argv, **environ):
    """A server in the folder without any of MLflow's variables; its URL once it answers."""
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | environ
    url = f"http://127.0.0.1:{free_port()}"
    log = folder / f"{argv[0]}.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", *argv, url.rpartition(":")[2]]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out)
    try:
        end = time.monotonic() + START_S
        while True:
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(url + ready, timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def serving(folder, model):
    return running(folder, "/ping", "proto_model", "serve", "-m", model, "-p")


@pytest.fixture(scope="module")
def explainer(store):
    """URL of a server of explanations."""
    with serving(store, EXPLAINER) as url:
        yield url


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def command(folder, *argv):
    own = ("MLFLOW_", "MAPPER_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-m", "mapper", *argv], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_mapper_serves_the_champion_of_its_folder_by_default(store, explainer):
    before = (store / "mlflow.db").read_bytes()
    with serving(store, "models:/proto_model@champion") as model_server:
        where = {"MAPPER_MODEL_SERVER_URL": model_server, "MAPPER_EXPLAINER_URL": explainer}
        with running(store, "/readyz", "mapper", "serve", "--port", **where) as mapper:
            ready = call(f"{mapper}/readyz")
            predicted = call(f"{mapper}/v1/predict", {"data": RECORD})
            explained = call(
                f"{mapper}/v1/explain", {"data": RECORD, "parameters": {"max_counterfactuals": 1}}
            )

    model = {"name": "proto_model", "version": "2"}
    assert ready == {"status": "ready", "model": model, "explainer": "ready"}
    assert predicted["model"] == explained["model"] == model
    (prediction,), (explanation,) = predicted["predictions"], explained["predictions"]
    assert prediction["prediction"] == explanation["prediction"] == "setosa"
    assert set(prediction["probabilities"]) == {"setosa", "versicolor", "virginica"}
    assert prediction["probability"] == explanation["probability"]
    assert len(explanation["explanation"]["counterfactuals"]) <= 1
    assert "probabilities" not in explanation  # an explainer does not give them
    assert (store / "mlflow.db").read_bytes() == before


def test_in_front_of_an_explainer_it_is_ready_and_answers(store, explainer):
    where = ("--schema", EXPLAINER, "--model-server-url", explainer)
    with running(store, "/readyz", "mapper", "serve", *where, "--port") as mapper:
        answer = call(f"{mapper}/v1/explain", {"data": [RECORD, RECORD]})
        plain = call(f"{mapper}/v1/predict", {"data": RECORD})

    connector = MlflowRegistryConnector(f"sqlite:///{quote(str(store))}/mlflow.db", {})
    tango, proxy = connector.get_model(EXPLAINER), ModelServerProxy(server_proxy_url=explainer)
    payload = json.dumps(tango.map_request(json.dumps({"data": RECORD}).encode())).encode()
    by_platform = tango.map_response(proxy.invoke(RequestType.EXPLAIN, payload))
    proxy.close()

    assert answer["model"]["version"] == "3"
    assert [item["prediction"] for item in answer["predictions"]] == ["setosa"] * 2
    assert all(item["explanation"]["rule"]["text"] for item in answer["predictions"])
    assert plain["predictions"][0] == {
        "prediction": "setosa",
        "probability": answer["predictions"][0]["probability"],
    }
    assert by_platform["predictions"] == answer["predictions"][:1]


def test_the_payload_of_a_model_has_its_newest_explainer(store):
    payload = json.loads(command(store, "tango", "model"))
    explainer = payload["explainer"]

    assert (payload["model_code"], payload["version"]) == ("proto_model", "2")
    assert (explainer["model_code"], explainer["version"]) == ("proto_model_explainer", "3")
    jsonschema.Draft202012Validator(payload["input_schema"]).validate({"data": [RECORD]})
    request = {"data": RECORD, "parameters": {"max_counterfactuals": 1}}
    jsonschema.Draft202012Validator(explainer["input_schema"]).validate(request)

    assert (
        json.loads(command(store, "tango", "model", "--model", "models:/proto_model/1"))["explainer"][
            "version"
        ]
        == "1"
    )
    explainer_itself = json.loads(
        command(store, "tango", "model", "--model", "proto_model_explainer@champion")
    )
    assert explainer_itself["model_code"] == "proto_model_explainer"
    assert explainer_itself["explainer"] is None
    assert json.loads(command(store, "tango", "model", "--explainer", "none"))["explainer"] is None


def test_the_payload_of_a_deployment_works_on_this_machine(store):
    payload = json.loads(command(store, "tango", "deployment", "--key", "here"))

    connector = MlflowRegistryConnector(**payload["registry_connector_init"])

    assert connector.get_model("models:/proto_model/1").schema.model_name == "proto_model"
