"""MLflow's server with the locks of published versions, over HTTP."""

import re
import urllib.error
import urllib.request

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.registry.promotion.journal import describe
from proto_model.registry.publishing import make_keys, publish, read_signing_key, read_verify_key, verify
from proto_model.registry.versions import register_version
from tests.stores import ROOT
from tests.tracking_server import ADMIN, ADMIN_PASSWORD, tracking_server

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:.*transition_model_version_stage.. is deprecated:FutureWarning"),
]


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
    with tracking_server(tmp_path, app="proto-model-locks") as port:
        uri = f"http://127.0.0.1:{port}"
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
    # As in deploy/compose.yaml, whose users stand in the database of the models.
    settings = (ROOT / "deploy" / "mlflow" / "basic_auth.ini").read_text()
    settings = re.sub("(?m)^database_uri = .*", f"database_uri = sqlite:///{tmp_path}/mlflow.db", settings)
    with tracking_server(tmp_path, app="proto-model-locks-auth", settings=settings) as port:
        uri = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        with pytest.raises(MlflowException, match="401"):
            client.search_registered_models()
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)
        one, _ = make_versions(client, tmp_path)
        publish(f"models:/churn/{one.version}", client=client)

        refused(client.delete_model_version, "churn", one.version)
        with pytest.raises(OSError, match="403"):
            client.log_model_artifacts(one.source.removeprefix("models:/"), str(tmp_path / "model"))
        mlflow.set_tracking_uri(None)
