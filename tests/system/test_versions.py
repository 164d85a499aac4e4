"""Versions on a real MLflow server that asks for a password, by an administrator and by a reader."""

import base64
import contextlib
import json
import urllib.request

import mlflow
import pytest
from mlflow import MlflowClient

from proto_model.cli.versions import main
from proto_model.model.digests import write_digests
from proto_model.registry.versions import register_version, set_alias
from tests.tracking_server import ADMIN, ADMIN_PASSWORD, tracking_server

pytestmark = pytest.mark.system

READER, READER_PASSWORD = "rita", "another password of twelve letters"


@contextlib.contextmanager
def user(name, password):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", name)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        yield


def create_user(url, name, password):
    token = base64.b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/users/create",
        json.dumps({"username": name, "password": password}).encode(),
        {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of a server with the model `people`, its versions 1 to 4, and an explainer of version 2."""
    folder = tmp_path_factory.mktemp("server")
    bundle = tmp_path_factory.mktemp("model") / "artifacts" / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "schema.json").write_text("{}")
    write_digests(bundle)
    with tracking_server(folder, basic_auth=True) as port, user(ADMIN, ADMIN_PASSWORD):
        url = f"http://127.0.0.1:{port}"
        create_user(url, READER, READER_PASSWORD)
        mlflow.set_tracking_uri(url)
        client = MlflowClient()
        for _ in range(4):
            run = client.create_run("0", tags={"mlflow.user": "bob"})
            client.log_metric(run.info.run_id, "test_log_loss", 0.5)
            logged = client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
            client.log_model_artifacts(logged.model_id, str(bundle.parents[1]))
            client.finalize_logged_model(logged.model_id, "READY")
            register_version(
                f"models:/{logged.model_id}", "people", run_id=run.info.run_id, tags={"variant": "trees"}
            )
        explained = {"explained_version": "2"}
        register_version(f"models:/{logged.model_id}", "people_explainer", tags=explained)
        set_alias("people", "champion", 1)
        yield url
        mlflow.set_tracking_uri(None)


@pytest.fixture
def versions(server, capsys):
    """The command: exit status, what it says as JSON, and standard error."""

    def run(*arguments):
        status = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


def test_whoever_may_only_read_sees_all_and_changes_nothing(versions):
    with user(READER, READER_PASSWORD):
        assert [line["metrics"] for line in versions("list", "people")[1]] == [{"log_loss": 0.5}] * 4
        for command in [
            ("edit", "people/2", "--label", "mine"),
            ("delete", "people/2", "--yes", "--force"),
            ("prune", "people", "--keep", "1", "--yes"),
        ]:
            status, _, err = versions(*command)
            assert status == 1
            assert "Permission denied" in err
    with user(ADMIN, ADMIN_PASSWORD):
        assert [line["version"] for line in versions("list", "people")[1]] == [4, 3, 2, 1]
        assert versions("show", "people/2")[1]["labels"] == []


def test_versions_are_edited_deleted_and_pruned_over_http(versions):
    with user(ADMIN, ADMIN_PASSWORD):
        status, edited, _ = versions(
            "edit",
            "models:/people/2",
            "--label",
            "q3",
            "--set",
            "threshold=0.4",
            "--description",
            "Ä *forest*.",
        )
        assert (status, set(edited["changes"])) == (0, {"description", "labels", "config"})
        status, deleted, err = versions("delete", "people/2", "--yes", "--reason", "too old")
        assert status == 0
        assert deleted["explainers"] == [1]
        assert len(deleted["deleted"]["digest"]) == 64
        assert f"the logged model {deleted['model_id']}, with all files" in err
        assert versions("list", "people_explainer")[1] == []
        _, pruned, _ = versions("prune", "people", "--keep", "1", "--yes")
        assert (pruned["deleted"], pruned["spared"]) == ([3], [1])
        assert [line["version"] for line in versions("list", "people")[1]] == [4, 1]
        assert [stone["version"] for stone in versions("list", "people", "--deleted")[1]] == ["3", "2"]
        log = versions("history", "people", "--version", "2")[1]
        assert [(entry["event"], entry["by"]) for entry in log] == [
            ("trained", "bob"), ("edited", ADMIN), ("deleted", ADMIN),
        ]  # fmt: skip
        assert MlflowClient().list_logged_model_artifacts(deleted["model_id"])
