"""Deletion and pruning on a real registry."""

import hashlib
import json

import pytest
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.model.digests import write_digests
from proto_model.registry.catalog.editing import Edit, edit_version
from proto_model.registry.catalog.listing import read_tombstones
from proto_model.registry.catalog.naming import Named, living_version
from proto_model.registry.catalog.removal import delete_version, planned_removal, prunable, prune
from proto_model.registry.versions import explainer_name, register_version, versions_of


def numbers(client, model):
    return "".join(str(version.version) for version in versions_of(client, model))


@pytest.fixture
def twins(client, model):
    """Versions of the explainer that explain version 2, one of them an alias's."""
    name = explainer_name(model)
    client.create_registered_model(name)
    for explained in ("2", "3", "2"):
        client.create_model_version(name, "file:///nowhere", tags={"explained_version": explained})
    client.set_registered_model_alias(name, "challenger", "3")
    return name


def test_a_version_goes_with_its_explainers_and_leaves_a_tombstone(client, model, twins, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    edit_version(client, f"{model}/2", Edit(description="Old.", labels=("q3",)))

    plan, stone = delete_version(client, f"models:/{model}/2", reason="too old")

    assert plan.explainers == ("3", "1")
    assert (numbers(client, model), numbers(client, twins)) == ("431", "2")
    assert (stone.by, stone.reason, stone.description, stone.labels) == ("ada", "too old", "Old.", ("q3",))
    (read,) = read_tombstones(client, Named(model))
    assert read == stone
    assert [event[1] for event in read.events] == ["edited"]
    assert [one.version for one in read_tombstones(client, Named(twins))] == ["3", "1"]
    with pytest.raises(RegistryError, match=r"Version 2 .* deleted by ada on .*, because: too old"):
        living_version(client, f"{model}/2")


def test_a_number_is_never_used_again(client, model):
    delete_version(client, f"{model}/4")
    assert str(client.create_model_version(model, "file:///nowhere").version) == "5"


@pytest.mark.parametrize(
    ("tags", "alias", "message"),
    [
        ({}, "best", "has the alias best, so it stays.*--force"),
        ({"published_at": "2026-10-31"}, None, "is published"),
        ({"deployed_staging": "people@sha256:1"}, None, "is deployed in staging"),
    ],
)
def test_what_is_in_use_is_deleted_by_force_only(client, model, tags, alias, message):
    for key, value in tags.items():
        client.set_model_version_tag(model, "2", key, value)
    if alias:
        client.set_registered_model_alias(model, alias, "2")
    with pytest.raises(RegistryError, match=message):
        delete_version(client, f"{model}/2")
    assert numbers(client, model) == "4321"

    _, stone = delete_version(client, f"{model}/2", force=True)
    assert numbers(client, model) == "431"
    assert client.get_registered_model(model).aliases == {}
    assert stone.aliases == ((alias,) if alias else ())


def test_a_published_explainer_holds_its_version(client, model, twins):
    client.set_model_version_tag(twins, "1", "published_at", "2026-10-31")
    assert planned_removal(client, f"{model}/2").obstacles == ("its explainer 1 is published",)


def test_a_deletion_that_fails_leaves_the_version_alive(client, model):
    class Forbidding:
        def __getattr__(self, name):
            return getattr(client, name)

        def delete_model_version(self, *_):
            raise MlflowException("Permission denied")

    with pytest.raises(MlflowException, match="Permission denied"):
        delete_version(Forbidding(), f"{model}/2")
    assert read_tombstones(client, Named(model)) == []
    assert "deleted.2" not in client.get_registered_model(model).tags
    assert str(living_version(client, f"{model}/2").version) == "2"


def test_run_logged_model_and_files_are_left(client, model, tmp_path):
    run = client.create_run("1")
    logged = client.create_logged_model("1", name="model", source_run_id=run.info.run_id)
    (tmp_path / "artifacts" / "bundle").mkdir(parents=True)
    (tmp_path / "artifacts" / "bundle" / "schema.json").write_bytes(b"{}")
    write_digests(tmp_path / "artifacts" / "bundle")
    client.log_model_artifacts(logged.model_id, str(tmp_path))
    client.finalize_logged_model(logged.model_id, "READY")
    version = register_version(f"models:/{logged.model_id}", model, run_id=run.info.run_id, client=client)

    plan, stone = delete_version(client, f"{model}/{version.version}")

    line = f"{hashlib.sha256(b'{}').hexdigest()}  schema.json\n"
    assert stone.digest == hashlib.sha256(line.encode()).hexdigest()
    assert (stone.run_id, stone.model_id) == (run.info.run_id, logged.model_id)
    assert (
        plan.left
        == f"Left in MLflow: run {run.info.run_id} and the logged model {logged.model_id}, with all files."
    )
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    assert client.list_logged_model_artifacts(logged.model_id)


def test_a_publication_that_was_interrupted_gives_no_digest(client, model):
    client.set_model_version_tag(model, "2", "manifest_sha256", "a" * 64)
    assert delete_version(client, f"{model}/2")[1].digest is None


def test_pruning_keeps_the_newest_and_what_is_in_use(client, model):
    for _ in range(4):
        client.create_model_version(model, "file:///nowhere")
    client.set_registered_model_alias(model, "champion", "1")
    client.set_model_version_tag(model, "2", "published_at", "2026-10-31")
    client.set_model_version_tag(model, "3", "deployed_staging", "people@sha256:1")

    doomed, spared = prunable(client, model, keep=2)
    assert [removal.version for removal in doomed] == ["4", "5", "6"]
    assert [line.version for line in spared] == ["3", "2", "1"]

    client.set_registered_model_alias(model, "best", "5")  # after the plan was made
    done, stayed = prune(client, doomed, reason="pruned")
    assert (done, list(stayed)) == (["4", "6"], ["5"])
    assert numbers(client, model) == "875321"
    assert prunable(client, model, keep=2)[0] == []
    assert json.loads(client.get_registered_model(model).tags["deleted.4"])["reason"] == "pruned"
