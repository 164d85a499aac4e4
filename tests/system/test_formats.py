"""Formats on a real MLflow server that asks for a password, and a graph that `mlflow models serve` serves."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from proto_model import Registry
from proto_model.cli.formats import main
from tests.proto_model.registry.test_notebook import X_TEST, Y_TEST, X, Y, fitted
from tests.system.test_models_serve import post, serving
from tests.tracking_server import ADMIN, create_user, tracking_server, user
from tests.trainings import no_modules

pytest.importorskip("onnxruntime", reason="The extra proto-model-turbo[formats] is not installed")
pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
NAME = "models:/churn/1"
READER = "rita"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of a server with version 1 of the model `churn`."""
    folder = tmp_path_factory.mktemp("server")
    with tracking_server(folder, app="basic-auth") as port, user(ADMIN):
        url = f"http://127.0.0.1:{port}"
        create_user(url, READER)
        with no_modules():
            Registry(url).model("churn").new_version(fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST)
        yield url
        mlflow.set_tracking_uri(None)


@pytest.fixture
def formats(server, capsys):
    """The command: exit status, what it says as JSON, and standard error."""

    def run(action, *arguments):
        status = main([action, "-m", NAME, *arguments, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


def test_formats_are_added_downloaded_and_deleted_over_http(formats, tmp_path):
    (tmp_path / "model.rda").write_bytes(b"from R")
    for arguments in (("pmml",), ("pickle",), ("file", str(tmp_path / "model.rda"))):
        status, added, err = formats("add", *arguments)
        assert (status, "runs whatever code" in err) == (0, arguments == ("pickle",))
        status, downloaded, err = formats("download", added["name"], "--out", str(tmp_path / "out"))
        assert status == 0, err
        assert (status, Path(downloaded["path"]).stat().st_size) == (0, added["bytes"])
    status, listed, _ = formats("list")
    assert {one["name"]: one["verdict"] and one["verdict"]["labels_that_differ"] for one in listed} == {
        "model.rda": None, "pickle": 0, "pmml": 0,
    }  # fmt: skip
    status, _, err = formats("add", "treelite")
    assert (status, "does not see the column 'income' as it is" in err) == (1, True)
    assert formats("add", "word")[0] == 2
    status, deleted, _ = formats("delete", "pickle", "--yes")
    assert (status, deleted["name"]) == (0, "pickle")
    assert [one["name"] for one in formats("list")[1]] == ["model.rda", "pmml"]
    listing = mlflow.artifacts.list_artifacts(artifact_uri=f"runs:/{deleted['run_id']}/formats/1")
    assert sorted(item.path for item in listing) == ["1/file-model.rda", "1/pmml"]


def test_whoever_may_only_read_adds_and_deletes_nothing(formats, tmp_path):
    with user(ADMIN):
        formats("add", "skops")
    with user(READER):
        assert formats("download", "skops", "--out", str(tmp_path))[0] == 0
        for command in [("add", "sklearn"), ("delete", "skops", "--yes")]:
            status, _, err = formats(*command)
            assert (status, "'rita' may not" in err) == (1, True), err
    assert "skops" in [one["name"] for one in formats("list")[1]]


def test_mlflow_serves_the_graph_as_the_version_answers(server, formats, tmp_path):
    status, added, _ = formats("add", "onnx")
    assert status == 0
    body = {"dataframe_split": X_TEST.astype({"age": float}).to_dict("split", index=False)}
    with serving(added["uri"], server, tmp_path) as url:
        status, content = post(url, body)
    answer = content["predictions"]
    assert status == 200
    assert answer["prediction"] == fitted().predict(X_TEST).tolist()
    expected = fitted().predict_proba(X_TEST)
    np.testing.assert_array_equal(
        np.column_stack([answer["probability_no"], answer["probability_yes"]]), expected
    )
