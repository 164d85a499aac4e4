"""MLflow's server with the locks of published versions, over HTTP."""

import contextlib
import os
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.registry.promotion.journal import describe
from proto_model.registry.publishing import make_keys, publish, read_signing_key, read_verify_key, verify
from proto_model.registry.versions import register_version
from tests.stores import fresh_store
from tests.system.test_follow import until

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:.*transition_model_version_stage.. is deprecated:FutureWarning"),
]
ROOT = Path(__file__).parents[2]
GROUP = "mlflow.app"
ADMIN, PASSWORD = "admin", "a password of more than twelve letters"
AUTH = f"""[mlflow]
default_permission = EDIT
database_uri = sqlite:///basic_auth.db
admin_username = {ADMIN}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 3600
"""


@contextlib.contextmanager
def tracking_server(folder, app, **variables):
    """URI of a server with one of this project's applications, installed as pip does it."""
    fresh_store(folder)
    installed = folder / "installed" / "proto_model_locks-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: proto_model_locks\nVersion: 0\n")
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    lines = [f"{name} = {function}" for name, function in group.items()]
    (installed / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    kept["PYTHONPATH"] = os.pathsep.join([str(installed.parent), str(ROOT / "src")])
    kept |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | variables
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--app-name", app]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=kept, stderr=log) as server,
    ):
        try:

            def answers():
                assert server.poll() is None, (folder / "log").read_text()
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                return True

            until(answers)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def make_versions(client, folder):
    (folder / "model").mkdir()
    (folder / "model" / "MLmodel").write_text("flavors: {}\n")
    experiment = client.create_experiment("locks")
    versions = []
    for _ in range(2):
        run = client.create_run(experiment)
        model = client.create_logged_model(experiment, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(folder / "model"))
        uri = f"models:/{model.model_id}"
        versions.append(register_version(uri, "churn", run_id=run.info.run_id, client=client))
    return versions


def status_of(url, method, content=None):
    """Status that a server answers a request with."""
    request = urllib.request.Request(url, content, {"Content-Type": "text/plain"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def refused(call, *arguments):
    with pytest.raises(MlflowException, match="was published at") as caught:
        call(*arguments)
    assert caught.value.get_http_status_code() == 403


def test_the_server_refuses_to_change_a_published_version(tmp_path, monkeypatch):
    with tracking_server(tmp_path, "proto-model-locks") as uri:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        one, two = make_versions(client, tmp_path)
        private, public = make_keys(tmp_path / "keys")
        model_id = one.source.removeprefix("models:/")
        other_file = tmp_path / "other"
        other_file.mkdir()
        (other_file / "MLmodel").write_text("other")
        client.set_model_version_tag("churn", one.version, "region", "us")
        publish(f"models:/churn/{one.version}", key=read_signing_key(private), client=client)
        digest = client.get_model_version("churn", one.version).tags["manifest_sha256"]

        for call, *arguments in (
            (client.set_model_version_tag, "churn", one.version, "region", "eu"),
            (client.set_model_version_tag, "churn", one.version, "published_at", "2020"),
            (client.delete_model_version_tag, "churn", one.version, "published_at"),
            (client.update_model_version, "churn", one.version, "Another."),
            (client.transition_model_version_stage, "churn", one.version, "Archived"),
            (client.delete_model_version, "churn", one.version),
            (client.rename_registered_model, "churn", "other"),
            (client.delete_registered_model, "churn"),
            (client.delete_logged_model, model_id),
            (client.delete_run, one.run_id),
        ):
            refused(call, *arguments)
        with pytest.raises(OSError, match="403"):
            client.log_model_artifacts(model_id, str(other_file))
        with pytest.raises(OSError, match="403"):
            client.log_artifacts(one.run_id, str(other_file), f"publication/{digest}")
        location = client.get_logged_model(model_id).artifact_location.removeprefix("mlflow-artifacts:/")
        for path in (location, location.partition("/models")[0], f"{location.split('/')[0]}/{one.run_id}"):
            assert status_of(f"{uri}/api/2.0/mlflow-artifacts/artifacts/{path}", "DELETE") == 403
        experiment = client.get_run(one.run_id).info.experiment_id
        refused(client.delete_experiment, experiment)
        coded = location.replace("m-", "%25256D-") + "/MLmodel"
        dotted = f"{experiment}/{one.run_id}/./artifacts/./publication/./{digest}/manifest.json"
        for path in (coded, dotted):  # MLflow decodes as often as there is something to decode
            assert status_of(f"{uri}/api/2.0/mlflow-artifacts/artifacts/{path}", "PUT", b"x") == 403
        for path in (f"publication/{digest}/manifest.json", f"publication/./{digest}/manifest.json"):
            upload = f"{uri}/ajax-api/2.0/mlflow/upload-artifact?run_uuid={one.run_id}&path={path}"
            assert status_of(upload, "POST", b"x") == 403

        quoted = 'it\'s "one"'  # MLflow's filters know no escapes
        register_version(one.source, quoted, run_id=one.run_id, client=client)
        publish(f"models:/{quoted}/1", client=client)
        refused(client.delete_registered_model, quoted)
        refused(client.rename_registered_model, quoted, "other")

        client.set_registered_model_alias("churn", "champion", one.version)
        client.set_registered_model_alias("churn", "champion", two.version)
        client.delete_registered_model_alias("churn", "champion")
        client.set_model_version_tag("churn", one.version, "deployed_staging", "image")
        describe("churn", str(one.version), "**Comparison of today**: won.").make(client)
        client.log_artifacts(one.run_id, str(other_file), "plots")
        client.set_model_version_tag("churn", two.version, "region", "eu")
        client.log_model_artifacts(two.source.removeprefix("models:/"), str(other_file))
        client.delete_model_version("churn", two.version)
        client.delete_run(two.run_id)
        verdict = verify(f"models:/churn/{one.version}", [read_verify_key(public.read_text())], client=client)
        assert verdict.is_good, verdict
        mlflow.set_tracking_uri(None)


def test_the_locks_hold_for_those_who_may_do_everything(tmp_path, monkeypatch):
    (tmp_path / "settings.ini").write_text(AUTH)
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "settings.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for the tests",
    }
    with tracking_server(tmp_path, "proto-model-locks-auth", **variables) as uri:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        with pytest.raises(MlflowException, match="401"):
            client.search_registered_models()
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        one, _ = make_versions(client, tmp_path)
        publish(f"models:/churn/{one.version}", client=client)

        refused(client.delete_model_version, "churn", one.version)
        with pytest.raises(OSError, match="403"):
            client.log_model_artifacts(one.source.removeprefix("models:/"), str(tmp_path / "model"))
        mlflow.set_tracking_uri(None)
