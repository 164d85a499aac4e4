import json
import zipfile
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.deployment.package import PackageError
from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.importing import import_package
from proto_model.deployment.package.writing import write_package
from proto_model.errors import ArtifactError, InputError
from proto_model.model import Bundle
from proto_model.registry.catalog.editing import Edit, edit_version
from proto_model.registry.catalog.history import history
from proto_model.registry.catalog.naming import Named
from proto_model.registry.deployed import Chosen, record_deployed
from proto_model.registry.events import event_tag
from proto_model.registry.publishing import make_keys, publish, verify
from proto_model.registry.publishing.keys import read_verify_key
from proto_model.registry.versions import register_version, set_alias, versions_of
from tests.stores import fresh_store

CREATED = "2026-10-01T08:00:00+00:00"


@pytest.fixture
def client(tmp_path):
    """Client of a store of its own, in which nothing is."""
    folder = tmp_path / "store"
    folder.mkdir()
    mlflow.set_tracking_uri(fresh_store(folder))
    # By default it would be the working folder's.
    mlflow.create_experiment("here", artifact_location=(folder / "artifacts").as_uri())
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def origin(model, tmp_path_factory):
    """Package of version 2 of churn, edited, deployed and published there, and the public key."""
    folder = tmp_path_factory.mktemp("origin")
    mlflow.set_tracking_uri(fresh_store(folder))
    client = MlflowClient()
    experiment = mlflow.create_experiment("churn", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(experiment, tags={"mlflow.user": "bob"})
    client.log_param(run.info.run_id, "n_estimators", 20)
    client.log_param(run.info.run_id, "dataset", "/home/bob/people.csv")
    client.log_metric(run.info.run_id, "test_log_loss", 0.25)
    client.log_metric(run.info.run_id, "test_roc_auc", float("nan"))
    client.log_text(run.info.run_id, "# Model card\n", "model_card.md")
    client.log_text(run.info.run_id, "secret,row\n", "split/test_rows.csv")
    logged = client.create_logged_model(experiment, name="model", source_run_id=run.info.run_id)
    (model / "registered_model_meta").rename(folder / "registered_model_meta")
    client.log_model_artifacts(logged.model_id, str(model))
    (folder / "registered_model_meta").rename(model / "registered_model_meta")
    client.finalize_logged_model(logged.model_id, "READY")
    tags = {"variant": "random_forest", "split_run_id": run.info.run_id}
    for _ in range(2):
        register_version(
            f"models:/{logged.model_id}",
            "churn",
            run_id=run.info.run_id,
            tags=tags,
            description="A forest.",
        )
    edit_version(
        client, "churn/2", Edit(labels=["q3"], set_config={"threshold": 0.4}, records=["s3://lake/a"])
    )
    client.set_model_version_tag("churn", "2", *event_tag("promoted", "against version 1"))
    record_deployed(Chosen("churn", "2"), "staging", "registry.example.com/churn@sha256:1", client=client)
    set_alias("churn", "champion", 2)
    private, public = make_keys(folder / "keys")
    publish("models:/churn/2", key=private, by="ann")
    yield write_package("models:/churn@champion", folder / "package", as_zip=True).path, public
    mlflow.set_tracking_uri(None)


def everything(client: MlflowClient) -> tuple:
    """What a store shows: models, versions, runs, and logged models."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    return (
        [one.name for one in client.search_registered_models()],
        [one.version for one in versions_of(client, None)],
        len(client.search_runs(experiments)),
        len(client.search_logged_models(experiments)),
    )


def test_a_version_comes_with_its_history(origin, client):
    package, _ = origin

    done = import_package(package, name="other", alias="challenger", experiment="here", client=client)

    assert (done.model, done.version, done.before.title) == ("other", "1", "churn 2")
    version = client.get_model_version_by_alias("other", "challenger")
    tags = version.tags
    assert version.description == "A forest."
    assert json.loads(tags["labels"]) == ["q3"]
    assert json.loads(tags["config"]) == {"threshold": 0.4}
    assert tags["variant"] == "random_forest"
    assert not {"published_at", "manifest_sha256", "deployed_staging", "split_run_id"} & tags.keys()
    before = json.loads(tags["imported_from"])
    assert (before["name"], before["version"], before["published_by"]) == ("churn", "2", "ann")
    run = client.get_run(version.run_id)
    assert run.data.params == {"n_estimators": "20"}
    assert run.data.metrics["test_log_loss"] == 0.25
    assert run.data.metrics["test_roc_auc"] != run.data.metrics["test_roc_auc"]
    log = [(entry.kind, entry.by, entry.what) for entry in history(client, Named("other"))]
    assert log[0][:2] == ("trained", "bob")
    assert [kind for kind, _, _ in log] == [
        "trained",
        "edited",
        "promoted",
        "deployed",
        "published",
        "imported",
    ]
    assert log[2][2] == "as churn 2: against version 1"
    assert log[3][2] == "as churn 2: to staging: registry.example.com/churn@sha256:1"
    assert log[-1][2] == "from a package of churn 2"
    names = {one.path for one in client.list_artifacts(version.run_id)}
    assert names == {"model_card.md", "origin"}
    kept = {Path(one.path).name for one in client.list_artifacts(version.run_id, "origin")}
    assert kept == {"manifest.json", "signature.sigstore.json", "version.json"}


def test_its_files_stay_what_was_signed_and_it_is_published_anew(origin, client, bundle, tmp_path):
    package, public = origin
    key = read_verify_key(public.read_text())
    done = import_package(package, experiment="here", client=client)
    downloaded = mlflow.artifacts.download_artifacts("models:/churn/1", dst_path=str(tmp_path / "version"))

    assert Bundle.load(Path(downloaded, "artifacts", "bundle")).digest == Bundle.load(bundle).digest
    assert verify("models:/churn/1", [key], client=client).findings[0].problem == "unpublished"
    private, mine = make_keys(tmp_path / "keys")
    publish(f"models:/churn/{done.version}", key=private, by="eve", client=client)
    assert verify("models:/churn/1", [read_verify_key(mine.read_text())], client=client).is_good
    again = write_package("models:/churn/1", tmp_path / "again").path
    facts = VersionFacts.of_bytes((again / "artifacts" / "version.json").read_bytes())
    assert [event.what for event in facts.events if event.kind == "promoted"] == [
        "as churn 2: against version 1"
    ]
    assert "imported_from" not in facts.tags


def test_a_store_that_is_not_there_yet_is_made(origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of such a store
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'new.db'}")

    done = import_package(origin[0])

    assert (done.model, done.version) == ("churn", "1")
    assert (tmp_path / "new.db").exists()
    mlflow.set_tracking_uri(None)


def test_nothing_of_rows_or_places_goes_along(origin, tmp_path):
    package, _ = origin
    with zipfile.ZipFile(package) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name in contents if "test_rows" in name]
    for word in (b"/home/bob", str(tmp_path.parent).encode(), b"secret,row", b"sqlite:////"):
        assert not [name for name, content in contents.items() if word in content], word


@pytest.mark.parametrize(
    "step",
    [
        "log_batch",
        "create_logged_model",
        "log_model_artifacts",
        "finalize_logged_model",
        "create_model_version",
        "set_logged_model_tags",  # the version is there by then
    ],
)
def test_a_step_that_fails_leaves_nothing(step, origin, client, monkeypatch):
    before = everything(client)

    def fail(*arguments, **options):
        raise MlflowException(f"{step} failed")

    monkeypatch.setattr(MlflowClient, step, fail)
    with pytest.raises(MlflowException, match=f"{step} failed"):
        import_package(origin[0], experiment="here")

    assert everything(client) == before


def test_an_alias_that_cannot_be_set_leaves_nothing_either(origin, client):
    import_package(origin[0], name="kept", experiment="here")
    before = everything(client)
    with pytest.raises(MlflowException):
        import_package(
            origin[0], name="kept", alias="v1", experiment="here"
        )  # MLflow keeps such aliases for itself

    assert everything(client) == before


def test_what_is_not_as_it_was_written_is_not_registered(copy, resealed, origin, client):
    before = everything(client)
    bundle = copy / "artifacts" / "model" / "artifacts" / "bundle"
    with pytest.raises(PackageError, match=r"There is no package"):
        import_package(copy / "none")
    with pytest.raises(InputError, match="no name of a model"):
        import_package(copy, name="a/3")

    example = (copy / "example.csv").read_text()
    (copy / "example.csv").write_text(example.replace(",yes,", ",no,", 1))
    with pytest.raises(PackageError, match=r"'example\.csv' was changed"):
        import_package(copy)
    with pytest.raises(PackageError, match=r"other predictions than example\.csv"):
        import_package(resealed(copy))

    (copy / "example.csv").write_text(example)
    (bundle / "forest.npz").write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="is not the file that was written with this model"):
        import_package(resealed(copy))

    assert everything(client) == before
