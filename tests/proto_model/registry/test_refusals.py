"""Refusals of a server with basic-auth, as sentences; tests/system/test_governance.py asks a real one."""

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST

from proto_model.registry.refusals import in_words, refusal

DENIED = MlflowException(
    "API request to endpoint /api failed with error code 403 != 200. Response body: 'Permission denied'",
    PERMISSION_DENIED,
)


@pytest.fixture(autouse=True)
def rita(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "rita")


@pytest.mark.parametrize(
    ("call", "said", "grant"),
    [
        ("get_model_version", "may not read the registered model 'churn'", "churn READ"),
        ("set_model_version_tag", "may not change the registered model 'churn'", "churn EDIT"),
        ("delete_registered_model_tag", "may not change the registered model 'churn'", "churn EDIT"),
        ("delete_model_version_tag", "may not delete anything of the registered", "churn MANAGE"),
        (
            "create_run",
            "may not write to that experiment and its runs",
            "NAME EDIT --experiment",
        ),
        ("search_model_versions", "may not read that experiment", "NAME READ --experiment"),
        ("", "may not do that", "NAME RIGHT --experiment"),
    ],
)
def test_a_refusal_says_who_may_not_do_what_and_what_allows_it(call, said, grant):
    sentence = str(refusal(DENIED, call, ("churn", "1")))

    assert f"'rita' {said}" in sentence
    assert sentence.partition("access grant rita --model ")[2].startswith(grant)


def test_a_model_and_its_explainer_are_given_together():
    assert "--model churn EDIT" in str(refusal(DENIED, "set_registered_model_alias", ("churn_explainer",)))


def test_a_user_without_a_name_is_none(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_AUTH_CREDENTIALS_PATH", "/nowhere")

    assert str(refusal(DENIED)).startswith("This user may not do that.")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, "Permission denied", "'rita' may not write to that experiment"),
        (
            403,
            '{"error_code": "PERMISSION_DENIED", "message": "Version 1 was published."}',
            "Version 1 was published.",
        ),
        (401, "You are not authenticated.", "does not know this name and password"),
        (500, "Permission denied", None),
    ],
)
def test_files_are_refused_in_the_same_words(status, body, said):
    answer = requests.Response()
    answer.status_code, answer._content = status, body.encode()
    found = refusal(
        requests.HTTPError("403 for url: http://a?signature=secret", response=answer), "log_artifacts"
    )

    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_other_errors_stay_what_they_are():
    missing = MlflowException("no such\n  model", RESOURCE_DOES_NOT_EXIST)
    assert refusal(missing, "get_registered_model", ("churn",)) is None
    assert in_words(missing) == "no such model"
    locked = MlflowException("Version 1 of 'churn' was published at noon.", PERMISSION_DENIED)
    assert in_words(locked) == "Version 1 of 'churn' was published at noon."
    assert in_words(OSError(2, "gone")) == "[Errno 2] gone"
