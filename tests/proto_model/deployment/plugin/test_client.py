"""What MLflow's own tests ask of a plugin, and what every wrong argument is answered with."""

import json
from importlib.metadata import EntryPoint

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.deployments import BaseDeploymentClient, get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.deployments.interface import plugin_store
from mlflow.exceptions import MlflowException

from proto_model.deployment.plugin import ProtoModelDeploymentClient
from proto_model.deployment.plugin.config import KINDS, OPTIONS
from tests.deploy.kustomization import KUBERNETES, containers, rendered

IMAGES = {"image": "registry.example.com/churn:7", "mapper_image": f"churn-mapper@sha256:{'0' * 64}"}
WRONG_IMAGE = IMAGES | {"out": "o", "image": "a b"}


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Function that gives the client of a target, by MLflow's plugin store."""
    monkeypatch.setenv("PROTO_MODEL_DEPLOYMENTS", str(tmp_path / "deployments"))
    monkeypatch.setitem(
        plugin_store.registry,
        "proto-model",
        EntryPoint("proto-model", "proto_model.deployment.plugin", "mlflow.deployments"),
    )
    return get_deploy_client


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return str(folder)


@pytest.mark.parametrize("kind", ["", *(f":{kind}" for kind in KINDS)])
def test_mlflow_finds_the_client_of_each_target(client, kind):
    found = client(f"proto-model{kind}")

    assert isinstance(found, BaseDeploymentClient)
    assert isinstance(found, ProtoModelDeploymentClient)
    assert found.list_deployments() == []
    assert found.delete_deployment("nobody") is None


def test_manifests_go_the_whole_way(client, model, tmp_path):
    config = {**IMAGES, "out": tmp_path / "out", "manifests": KUBERNETES, "replicas": 3}
    target = client("proto-model:kubernetes")

    made = target.create_deployment("churn", model, "python_function", config=config)
    assert (made["name"], made["flavor"], made["state"]) == ("churn", "python_function", "written")
    assert target.list_deployments() == [made] == client("proto-model").list_deployments()
    assert client("proto-model:image").list_deployments() == []
    with pytest.raises(MlflowException, match="already"):
        target.create_deployment("churn", model, config=config)
    resources = rendered(tmp_path / "out")
    images = {one["image"] for resource in resources for one in containers(resource)}
    assert images == set(IMAGES.values())
    assert {one["metadata"]["labels"]["app.kubernetes.io/instance"] for one in resources} == {"churn"}
    assert {one["spec"]["minReplicas"] for one in resources if one["kind"] == "HorizontalPodAutoscaler"} == {
        3
    }

    changed = target.update_deployment("churn", flavor="python_function", config={"image": "other/churn:8"})
    assert changed["flavor"] == "python_function"
    assert target.get_deployment("churn")["config"]["image"] == "other/churn:8"
    assert "other/churn:8" in {
        one["image"] for resource in rendered(tmp_path / "out") for one in containers(resource)
    }
    with pytest.raises(MlflowException, match="answers nothing"):
        target.predict("churn", pd.DataFrame({"a": [1]}))
    with pytest.raises(MlflowException, match="-t proto-model:kubernetes"):
        client("proto-model").delete_deployment("churn")
    assert target.delete_deployment("churn") is None
    assert target.list_deployments() == []
    assert (tmp_path / "out" / "kustomization.yaml").is_file()


def test_the_command_prints_what_mlflow_prints_for_every_plugin(client, model, tmp_path):
    def run(verb, *arguments):
        done = CliRunner().invoke(commands, [verb, "-t", "proto-model:kubernetes", *arguments])
        assert done.exit_code == 0, done.exception
        return done.output

    options = [f"{name}={value}" for name, value in IMAGES.items()]
    options += [f"out={tmp_path / 'out'}", f"manifests={KUBERNETES}"]
    config = [word for option in options for word in ("-C", option)]

    assert "python_function deployment churn is created" in run(
        "create", "--name", "churn", "-m", model, *config
    )
    assert "Deployment churn is updated (with flavor python_function)" in run("update", "--name", "churn")
    assert "'name': 'churn'" in run("list")
    assert "name: churn" in run("get", "--name", "churn")
    assert "Deployment churn is deleted" in run("delete", "--name", "churn")


def test_help_names_every_option_of_every_target(client):
    done = CliRunner().invoke(commands, ["help", "-t", "proto-model"])

    assert done.exit_code == 0
    words = set(done.output.split())
    assert {name for options in OPTIONS.values() for name in options} <= words
    assert {f"proto-model:{kind}" for kind in KINDS} <= {word.rstrip(",") for word in words}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"config": {"prot": 5001}}, "'prot'. Did you mean port?"),
        ({"config": {"port": 70000}}, "port=70000: a whole number from 0 to 65535"),
        ({"config": {"server": "triton"}}, "server=triton: lean or mlserver or mlflow"),
        ({"config": {"server": "mlflow", "workers": 2}}, "workers is an option of server=lean"),
        ({"config": {"server": "mlflow", "require_published": "true"}}, "server=lean and server=mlserver"),
        ({"config": {"require_published": "perhaps"}}, "true or false expected"),
        ({"config": {"verify_key": "/nowhere.pem"}}, "The key /nowhere.pem cannot be read"),
        ({"config": {"follow": 10}}, "needs an alias"),
        ({"config": {"token_file": "/nowhere/tokens"}}, "no token file /nowhere/tokens"),
        ({"name": "../churn"}, "no name of a deployment"),
        ({"model_uri": "nowhere/model"}, "no folder nowhere/model"),
        ({"flavor": "sklearn"}, "python_function expected"),
        ({"endpoint": "e"}, "no endpoints"),
        ({"target": "proto-model:kubernetes"}, "needs -C out= and -C image= and -C mapper_image="),
        ({"target": "proto-model:kubernetes", "config": WRONG_IMAGE}, "'a b' is no image"),
        ({"target": "proto-model:imag"}, "Did you mean proto-model:image?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_leaves_nothing(client, model, arguments, said):
    given = {"name": "churn", "model_uri": model} | arguments
    target = given.pop("target", "proto-model")

    with pytest.raises(MlflowException) as error:
        client(target).create_deployment(**given)
    assert said in str(error.value)
    assert client("proto-model").list_deployments() == []


def test_mlflows_server_is_not_started_where_published_versions_are_asked_for(client, model, monkeypatch):
    monkeypatch.setenv("PROTO_MODEL_REQUIRE_PUBLISHED", "true")

    with pytest.raises(MlflowException, match="Take server=lean or server=mlserver"):
        client("proto-model").create_deployment("churn", model, config={"server": "mlflow"})


def test_no_image_is_made_of_a_version_that_is_not_published(client, model, tmp_path):
    with pytest.raises(MlflowException, match="It is not published"):
        client("proto-model:image").create_deployment(
            "churn", model, config={"out": str(tmp_path / "image.tar"), "require_published": "true"}
        )
    assert not (tmp_path / "image.tar").exists()


def test_a_missing_version_and_a_missing_store_are_told(client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")

    with pytest.raises(MlflowException, match="There is no MLflow store"):
        client("proto-model").create_deployment("churn", "models:/people@champion")


def test_what_is_not_there_is_told(client):
    target = client("proto-model")

    for ask in (target.get_deployment, target.update_deployment, target.predict, target.explain):
        with pytest.raises(MlflowException, match="no deployment 'nobody'") as error:
            ask("nobody")
        assert json.loads(error.value.serialize_as_json())["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    for ask in (target.create_endpoint, target.update_endpoint, target.delete_endpoint, target.get_endpoint):
        with pytest.raises(MlflowException, match="no endpoints"):
            ask("e")
    with pytest.raises(MlflowException, match="no endpoints"):
        target.list_endpoints()
