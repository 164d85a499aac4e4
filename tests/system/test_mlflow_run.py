"""`mlflow run` as users type it: on embedded defaults, and against a server that asks for a password."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from tests.stores import fresh_store
from tests.tracking_server import ADMIN, ADMIN_PASSWORD, environment, tracking_server, user

pytestmark = pytest.mark.system

PROJECT = Path(__file__).parents[2] / "src"


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


@pytest.mark.long
def test_embedded_defaults_with_a_table_named_relative_to_the_callers_folder(tmp_path):
    (tmp_path / "data").mkdir()
    rows = "\n".join(f"{i % 17},{i % 5},{'ab'[i % 17 > 8]}" for i in range(90))
    (tmp_path / "data" / "small.csv").write_text(f"x,y,letter\n{rows}\n")

    settings = ("n_candidates=1", "test_size=0.3", "file_management=true")
    result = mlflow_run(tmp_path, environment(), "dataset=data/small.csv", "target=letter", *settings)

    run_id = run_to_serve(result)
    assert result.stdout.splitlines()[-1] == f"MLFLOW_RUN_ID={run_id}"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    child = client.get_run(run_id)
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["mlflow.project.entryPoint"] == "main"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["dataset"] == "data/small.csv"
    assert parent.data.params["test_size"] == "0.3"
    challenger = client.get_model_version_by_alias("proto_model", "challenger")
    assert (challenger.run_id, challenger.tags["signature"]) == (run_id, "file")
    assert "Traceback" not in result.stderr
    assert not list(PROJECT.glob("ml*[bs]"))  # neither mlflow.db nor mlruns


def test_wrong_parameters_fail_the_run_with_a_sentence(tmp_path):
    uri = fresh_store(tmp_path)

    result = mlflow_run(tmp_path, environment(), "nosuch=1")

    assert result.returncode != 0
    assert "there is no option --nosuch" in result.stderr
    (run,) = MlflowClient(uri).search_runs(["0"])
    assert run.info.status == "FAILED"


@pytest.mark.long
def test_a_server_with_basic_auth_over_http(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "client").mkdir()
    (tmp_path / "columns.yaml").write_text("petal length (cm): {description: Of the petals, unit: cm}\n")
    parameters = ("dataset=iris", "n_candidates=1", "registered_model_name=iris_model")
    with (
        tracking_server(tmp_path / "server", app="basic-auth", default="NO_PERMISSIONS") as port,
        user(ADMIN),
    ):
        url = f"http://127.0.0.1:{port}"
        env = environment(
            MLFLOW_TRACKING_URI=url,
            MLFLOW_TRACKING_USERNAME=ADMIN,
            MLFLOW_TRACKING_PASSWORD=ADMIN_PASSWORD,
            MLFLOW_EXPERIMENT_NAME="irises",
        )
        result = mlflow_run(tmp_path / "client", env, *parameters, f"dictionary={tmp_path / 'columns.yaml'}")

        run_id = run_to_serve(result)
        client = MlflowClient(url)
        experiment = client.get_experiment_by_name("irises")
        child = client.get_run(run_id)
        challenger = client.get_model_version_by_alias("iris_model", "challenger")
        models = {
            client.get_logged_model(output.model_id).name: output.model_id
            for output in child.outputs.model_outputs
        }
        files = {item.path for item in client.list_logged_model_artifacts(models["model"])}
        place = client.get_logged_model(models["model"]).artifact_location
        schema = Path(
            mlflow.artifacts.download_artifacts(
                f"{place}/mapper/schema.json", dst_path=str(tmp_path), tracking_uri=url
            )
        )
        published, verified = (
            subprocess.run(
                [sys.executable, "-m", "proto_model", *words],
                cwd=tmp_path / "client",
                env=env,
                capture_output=True,
                text=True,
                timeout=900,
            )
            for words in (
                ("versions", "publish", "iris_model@challenger"),
                ("verify", "-m", "models:/iris_model@challenger", "--reproduce"),
            )
        )
    assert child.info.experiment_id == experiment.experiment_id
    assert challenger.run_id == run_id
    assert {"MLmodel", "requirements.txt", "mapper"} <= files
    assert json.loads(schema.read_text())["dictionary"]["petal length (cm)"] == {
        "description": "Of the petals",
        "unit": "cm",
    }
    assert published.returncode == 0, published.stderr
    assert verified.returncode == 0, verified.stderr
    assert "Trained again, it is the same to the last bit." in verified.stdout
    assert not list((tmp_path / "client").iterdir())
    assert ADMIN_PASSWORD not in result.stdout + result.stderr
