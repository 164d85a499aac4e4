"""Formats of a version, on a real registry: added after verification, downloaded by SHA-256, deleted."""

import json
import pickle

import mlflow
import numpy as np
import pytest
import skops.io
from mlflow import MlflowClient

from proto_model import Registry
from proto_model.errors import ArtifactError, InputError, RegistryError
from proto_model.formats.estimator import TRUSTED
from proto_model.registry.catalog.history import history
from proto_model.registry.catalog.naming import Named
from proto_model.registry.formats import sha256_of
from tests.proto_model.registry.test_notebook import X_TEST, Y_TEST, X, Y, fitted

pytestmark = pytest.mark.filterwarnings(
    "ignore:Operation with range is deprecated", "ignore:.*pip version.*", "ignore:.*resolve installed pip"
)


@pytest.fixture(scope="module")
def version(store):
    model = Registry().model("churn")
    return model.new_version(fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST)


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="The extra proto-model-turbo[formats] is not installed")


def tags_of(version):
    return MlflowClient().get_model_version(version.model, version.number).tags


def test_a_format_has_its_sha256_and_its_verdict_beside_it_and_its_download_is_verified(version, tmp_path):
    record = version.add_format("skops")

    assert (record.verdict.labels_that_differ, record.verdict.largest_difference) == (0, 0)
    assert (record.verdict.rows, record.verdict.held_out) == (2080, 80)
    assert [one.name for one in version.formats()] == ["skops"]
    assert version.facts()["formats"] == [json.loads(json.dumps(record.to_dict()))]
    path = version.download_format("skops", tmp_path)
    assert (path.name, sha256_of(path), path.stat().st_size) == ("model.skops", record.sha256, record.bytes)
    model = skops.io.load(path, trusted=TRUSTED)
    rows = X_TEST.astype({"age": float})
    np.testing.assert_array_equal(model.predict_proba(rows), fitted().predict_proba(X_TEST))
    with pytest.raises(InputError, match="exists already"):
        version.download_format("skops", tmp_path)
    with pytest.raises(RegistryError, match="has the format skops already"):
        version.add_format("skops")


def test_a_deleted_format_is_gone_and_the_history_tells_of_both(version, tmp_path):
    record = version.add_format("pickle")
    path = version.download_format("pickle", tmp_path)
    rows = X_TEST.astype({"age": float})
    assert pickle.loads(path.read_bytes()).predict(rows).tolist() == fitted().predict(X_TEST).tolist()
    version.delete_format("pickle")

    assert "pickle" not in [one.name for one in version.formats()]
    assert "format.pickle" not in tags_of(version)
    with pytest.raises(RegistryError, match="has no format 'pickle'"):
        version.download_format("pickle", tmp_path)
    assert MlflowClient().list_artifacts(record.run_id, record.path) == []
    events = [entry for entry in history(MlflowClient(), Named.of(version.uri)) if "pickle" in entry.what]
    assert [entry.kind for entry in events] == ["format_added", "format_deleted"]
    assert all(record.sha256[:12] in entry.what for entry in events)


def test_a_file_from_elsewhere_is_kept_as_it_is(version, tmp_path):
    (tmp_path / "model.rda").write_bytes(b"\x00RDX3 not to be loaded")
    record = version.add_format("file", tmp_path / "model.rda")

    assert (record.name, record.kind, record.verdict) == ("model.rda", "file", None)
    found = version.download_format("model.rda", tmp_path / "out")
    assert found.read_bytes() == b"\x00RDX3 not to be loaded"
    for name, message in (("onnx", "cannot be the name"), ("a b.pkl", "cannot be the name")):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=message):
            version.add_format("file", tmp_path / name)
    with pytest.raises(InputError, match="There is no file"):
        version.add_format("file", tmp_path / "nowhere")
    with pytest.raises(InputError, match="Give the path"):
        version.add_format("file")
    with pytest.raises(InputError, match="of no use"):
        version.add_format("skops", tmp_path / "model.rda")
    with pytest.raises(InputError, match="There is no format 'onxx'"):
        version.add_format("onxx")


def test_a_changed_file_is_not_what_was_added(version, tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"mine")
    record = version.add_format("file", path)
    path.write_bytes(b"others'")
    MlflowClient().log_artifact(record.run_id, str(path), record.path)

    with pytest.raises(RegistryError, match="its SHA-256 differs"):
        version.download_format("weights.bin", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_mlflows_own_flavor_of_scikit_learn_answers_as_the_version(version):
    record = version.add_format("sklearn")

    rows = X_TEST.astype({"age": float})
    assert mlflow.pyfunc.load_model(record.uri).predict(rows).tolist() == fitted().predict(X_TEST).tolist()


def test_mlflows_own_flavor_of_onnx_answers_as_the_version(version, tmp_path, onnx):
    record = version.add_format("onnx")

    assert (record.verdict.labels_that_differ, record.verdict.largest_difference) == (0, 0)
    model = mlflow.pyfunc.load_model(record.uri)
    answer = model.predict(X_TEST.astype({"age": float}))
    assert answer["prediction"].tolist() == fitted().predict(X_TEST).tolist()
    np.testing.assert_array_equal(answer["probability_yes"], fitted().predict_proba(X_TEST)[:, 1])
    path = version.download_format("onnx", tmp_path)
    assert (path, sha256_of(path)) == (tmp_path / "onnx" / "model.onnx", record.sha256)
    assert record.files["model.onnx"] == record.sha256
    version.delete_format("onnx")
    assert (
        MlflowClient().search_logged_models(
            [MlflowClient().get_run(version.facts()["run_id"]).info.experiment_id], "name = 'onnx'"
        )
        == []
    )


def test_a_version_without_such_a_format_says_why(version, onnx):
    with pytest.raises(ArtifactError, match="does not see the column 'income' as it is"):
        version.add_format("treelite")
    assert "treelite" not in [one.name for one in version.formats()]


def test_a_published_version_keeps_the_formats_that_it_has(version, tmp_path):
    """The last test of this file: another version would take a training."""
    record = version.add_format("pmml")
    manifest = version.publish()

    assert json.loads(manifest.facts["tags"]["format.pmml"])["sha256"] == record.sha256
    with pytest.raises(RegistryError, match="was published"):
        version.add_format("pickle")
    with pytest.raises(RegistryError, match="was published"):
        version.delete_format("pmml")
    version.download_format("pmml", tmp_path)
    # By MLflow's own API, a tag of another file:
    tag = json.loads(tags_of(version)["format.pmml"]) | {"sha256": "0" * 64}
    MlflowClient().set_model_version_tag("churn", version.number, "format.pmml", json.dumps(tag))
    with pytest.raises(RegistryError, match="is not what version 1 of 'churn' was published with"):
        version.download_format("pmml", tmp_path / "again")
