"""Published versions on a real registry: what is kept, and what MLflow's own API changed afterwards."""

import contextlib
import importlib
import itertools
import json
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from proto_model.errors import ArtifactError, RegistryError
from proto_model.registry.catalog.editing import Edit, edit_version
from proto_model.registry.mapping import attach_to_version
from proto_model.registry.promotion.journal import describe
from proto_model.registry.promotion.lock import lock_name, lock_owner
from proto_model.registry.publishing import (
    Manifest,
    PublicationError,
    Trust,
    check_not_published,
    is_published,
    publish,
    registered,
    trusted,
    verify,
)
from proto_model.registry.publishing.manifest import FACTS
from proto_model.registry.publishing.verdict import Publication
from proto_model.registry.versions import register_version
from tests.proto_model.registry.publishing.conftest import FILES

publishing = importlib.import_module("proto_model.registry.publishing.publish")  # also a function's name
_names = itertools.count()


@pytest.fixture
def version(client: MlflowClient, tmp_path):
    """A version that a run has logged, with metrics and parameters."""
    name = f"churn_{next(_names)}"
    return new_version(client, name, tmp_path)


def new_version(client, name, tmp_path, files=FILES):
    folder = tmp_path / f"logged-{next(_names)}"
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    run = client.create_run("1")
    client.log_param(run.info.run_id, "max_depth", "3")
    client.log_metric(run.info.run_id, "test_accuracy", 0.9)
    client.log_metric(run.info.run_id, "test_undefined", float("nan"))
    model = client.create_logged_model("1", source_run_id=run.info.run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    uri = f"models:/{model.model_id}"
    return register_version(
        uri, name, run_id=run.info.run_id, description="For *all*.", tags={"region": "eu"}, client=client
    )


def uri_of(version):
    return f"models:/{version.name}/{version.version}"


def now(client, version):
    return client.get_model_version(version.name, str(version.version))


def findings(version, pair, client):
    verdict = verify(uri_of(version), [pair.public], client=client)
    return [(finding.problem, finding.name) for finding in verdict.findings]


def kept_folder(client, version):
    """Where the store keeps the version's files."""
    location = client.get_logged_model(version.source.removeprefix("models:/")).artifact_location
    return mlflow.artifacts.download_artifacts(location)


def test_a_published_version_is_what_it_was(client, version, pair):
    manifest = publish(uri_of(version), key=pair.private_path, by="ann", client=client)

    tags = now(client, version).tags
    assert (tags["published_at"], tags["published_by"]) == (manifest.published_at, "ann")
    assert is_published(now(client, version))
    assert findings(version, pair, client) == []
    assert set(manifest.files) == set(FILES)
    assert manifest.facts["tags"] == {"region": "eu"}
    assert manifest.facts["hyperparameters"] == {"max_depth": "3"}
    assert manifest.facts["metrics"] == {"test_accuracy": 0.9, "test_undefined": "nan"}
    assert manifest.facts["description"] == "For *all*."


def test_caches_of_a_store_in_which_models_were_loaded_are_not_published_and_not_used(
    client, version, pair, tmp_path
):
    def load_in_place(name):
        cache = Path(kept_folder(client, version), "code", "__pycache__")
        cache.mkdir(exist_ok=True)
        (cache / name).write_bytes(b"what Python would run")

    load_in_place("before.pyc")
    manifest = publish(uri_of(version), key=pair.private, client=client)
    load_in_place("after.pyc")

    assert set(manifest.files) == set(FILES)
    assert findings(version, pair, client) == []
    (tmp_path / "served").mkdir()
    served = trusted(uri_of(version), tmp_path / "served", Trust(keys=(pair.public_path.read_text(),)))
    assert (served / "code" / "a.py").exists()
    assert not list(served.rglob("__pycache__"))


def test_a_version_is_published_once(client, version, pair):
    publish(uri_of(version), key=pair.private, client=client)

    with pytest.raises(RegistryError, match="was published at"):
        publish(uri_of(version), key=pair.private, client=client)
    with pytest.raises(RegistryError, match="Make a new version"):
        check_not_published(now(client, version))


def while_files_are_read(monkeypatch, do):
    """Let somebody else do something while a publication reads the files of a version."""
    read = publishing._files

    def read_meanwhile(uri):
        monkeypatch.setattr(publishing, "_files", read)
        do()
        return read(uri)

    monkeypatch.setattr(publishing, "_files", read_meanwhile)


def test_what_is_edited_while_files_are_read_is_published_too(client, version, pair, monkeypatch):
    name = uri_of(version)
    while_files_are_read(monkeypatch, lambda: edit_version(client, name, Edit(labels=("q3",))))

    assert publish(name, key=pair.private, client=client).facts["tags"]["labels"] == '["q3"]'

    assert findings(version, pair, client) == []


def test_of_two_who_publish_at_once_one_does(client, version, pair, monkeypatch):
    while_files_are_read(monkeypatch, lambda: publish(uri_of(version), key=pair.private, client=client))

    with pytest.raises(RegistryError, match="was published at"):
        publish(uri_of(version), client=client)

    assert findings(version, pair, client) == []


def test_nobody_edits_between_the_facts_and_the_last_tag(client, version, pair, monkeypatch):
    owners = []

    def write(*arguments):
        owners.append(lock_owner(client, lock_name(version.name)))

    monkeypatch.setattr(registered, "write", write)
    publish(uri_of(version), client=client)
    assert owners[0].doing == "publish version 1"


def test_who_is_killed_while_he_publishes_leaves_a_version_that_can_be_edited_and_published(
    client, version, pair, monkeypatch
):
    def killed(*arguments):
        if arguments[2] == "published_at":
            raise KeyboardInterrupt
        set_tag(*arguments)

    set_tag = client.set_model_version_tag
    with monkeypatch.context() as patch:
        patch.setattr(client, "set_model_version_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(uri_of(version), key=pair.private, client=client)
    assert findings(version, pair, client) == [("unpublished", "")]
    edit_version(client, uri_of(version), Edit(labels=("q3",)))
    publish(uri_of(version), key=pair.private, client=client)
    assert findings(version, pair, client) == []


@pytest.mark.parametrize("strange", [{}, [], {"a": 1}, None, 3])
def test_facts_of_another_kind_are_named(client, version, strange):
    facts = dict.fromkeys(FACTS, strange)
    manifest = Manifest(version.name, "1", "", "", {}, facts)
    found = {
        finding.name.partition(".")[0]
        for finding in registered.changes(now(client, version), manifest, client)
    }
    assert {"description", "run_id", "tags", "metrics"} <= found


def test_a_published_version_gets_no_other_mapping(client, version):
    publish(uri_of(version), client=client)

    with pytest.raises(RegistryError, match="Make a new version"):
        attach_to_version("mapping.yaml", uri_of(version), client=client)


def test_what_is_not_published_is_refused_before_it_is_downloaded(client, version, pair, tmp_path):
    assert findings(version, pair, client) == [("unpublished", "")]

    with pytest.raises(PublicationError, match="is not published"):
        trusted(uri_of(version), tmp_path / "none", Trust(require_published=True))
    assert not (tmp_path / "none").exists()


def test_a_version_is_published_by_the_key_of_the_environment(client, version, pair, monkeypatch):
    monkeypatch.setenv("PROTO_MODEL_SIGNING_KEY", str(pair.private_path))
    publish(uri_of(version), client=client)

    assert findings(version, pair, client) == []


def test_without_a_key_a_version_is_published_and_not_signed(client, version, pair):
    publish(uri_of(version), client=client)

    assert verify(uri_of(version), client=client).is_good
    assert findings(version, pair, client) == [("signature", "")]


def test_a_wrong_key_publishes_nothing(client, version, tmp_path):
    (tmp_path / "key.pem").write_text("none")
    (tmp_path / "key.pem").chmod(0o600)

    with pytest.raises(PublicationError, match="cannot be read"):
        publish(uri_of(version), key=tmp_path / "key.pem", client=client)
    assert not is_published(now(client, version))


def test_what_the_registry_says_after_a_change_is_found(client, version, pair):
    publish(uri_of(version), key=pair.private, by="ann", client=client)
    name, number = version.name, version.version
    client.set_model_version_tag(name, number, "region", "us")
    client.set_model_version_tag(name, number, "new", "1")
    client.set_model_version_tag(name, number, "published_by", "eve")
    client.set_model_version_tag(name, number, "published_at", "2020")
    client.update_model_version(name, number, "Another.")
    client.log_metric(version.run_id, "test_accuracy", 0.99)
    client.log_param(version.run_id, "late", "1")

    assert findings(version, pair, client) == [
        ("registry", name)
        for name in (
            *("tags.published_at", "tags.published_by", "description", "hyperparameters.late"),
            *("metrics.test_accuracy", "tags.new", "tags.region"),
        )
    ]
    verdict = verify(uri_of(version), client=client)
    assert "tags.region is 'us' in MLflow, 'eu' was published." in [one.detail for one in verdict.findings]


def test_tags_that_lead_elsewhere_are_refused(client, version, pair):
    publish(uri_of(version), key=pair.private, client=client)
    before = now(client, version).tags
    for tag in ("manifest_sha256", "publication_run_id"):
        for value in ("../../etc", "0" * 64, ""):
            client.set_model_version_tag(version.name, version.version, tag, value)
            assert {problem for problem, _ in findings(version, pair, client)} in ({"registry"}, {"manifest"})
        client.set_model_version_tag(version.name, version.version, tag, before[tag])
    assert findings(version, pair, client) == []


def test_comparisons_and_deployments_go_on(client, version, pair):
    publish(uri_of(version), key=pair.private, client=client)
    client.set_registered_model_alias(version.name, "champion", version.version)
    client.set_model_version_tag(version.name, version.version, "deployed_staging", "image@sha256:1")
    client.set_model_version_tag(version.name, version.version, "comparison_verdict", "won")
    describe(version.name, str(version.version), "**Comparison of today**: won.").make(client)

    assert findings(version, pair, client) == []


def test_a_file_that_mlflow_adds_or_changes_afterwards_is_named(client, version, pair, tmp_path):
    publish(uri_of(version), key=pair.private, client=client)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("import os")
    client.log_model_artifacts(version.source.removeprefix("models:/"), str(tmp_path / "code"))

    assert findings(version, pair, client) == [("added", "a.py")]
    with pytest.raises(PublicationError, match=r"'a\.py' was added"):
        trusted(uri_of(version), tmp_path / "download", Trust(True))


def test_an_alias_that_moves_to_an_unsigned_version_is_refused(client, version, pair, tmp_path):
    publish(uri_of(version), key=pair.private, client=client)
    other = new_version(client, version.name, tmp_path)
    client.set_registered_model_alias(version.name, "champion", other.version)

    with pytest.raises(PublicationError, match="is not published"):
        trusted(f"models:/{version.name}@champion", tmp_path / "one", Trust(True))
    publish(uri_of(other), client=client)
    trust = Trust.of(False, [pair.public_path])
    with pytest.raises(PublicationError, match="not signed"):
        trusted(f"models:/{version.name}@champion", tmp_path / "two", trust)
    assert (trusted(uri_of(version), tmp_path / "three", trust) / "MLmodel").read_bytes() == FILES["MLmodel"]


def test_another_versions_publication_is_refused(client, version, pair, tmp_path):
    """All tags of a published version, on one that has the same files."""
    publish(uri_of(version), key=pair.private, client=client)
    other = new_version(client, version.name, tmp_path)
    for key, value in now(client, version).tags.items():
        client.set_model_version_tag(other.name, other.version, key, value)

    assert {("manifest", ""), ("signature", "")} <= set(findings(other, pair, client))


def test_a_model_that_was_made_anew_under_the_name_is_another_one(client, version, pair, tmp_path):
    """Numbers begin anew, and an old publication of the number is replayed."""
    publish(uri_of(version), key=pair.private, client=client)
    tags = now(client, version).tags
    client.delete_registered_model(version.name)
    other = new_version(client, version.name, tmp_path, {**FILES, "MLmodel": b"other"})
    for key, value in tags.items():
        client.set_model_version_tag(other.name, other.version, key, value)

    assert str(other.version) == str(version.version)
    found = findings(other, pair, client)
    assert {("changed", "MLmodel"), ("registry", "run_id"), ("registry", "model_id")} <= set(found)


def test_a_version_without_a_run_is_published_too(client, tmp_path, pair):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    name = f"churn_{next(_names)}"
    client.create_registered_model(name)
    source = (tmp_path / "model").as_uri()
    version = client.create_model_version(name, source)
    publish(uri_of(version), key=pair.private, client=client)

    assert findings(version, pair, client) == []
    (tmp_path / "model" / "MLmodel").write_text("flavors: {a: {}}\n")
    assert findings(version, pair, client) == [("changed", "MLmodel")]


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_publication_is_not_kept_in_a_run_that_was_deleted(client, version, pair, is_gone):
    client.delete_run(version.run_id)
    if is_gone:  # as `mlflow gc` leaves it
        path = mlflow.get_tracking_uri().removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("DELETE FROM runs WHERE run_uuid = ?", (version.run_id,))

    publish(uri_of(version), key=pair.private, client=client)

    run_id = now(client, version).tags["publication_run_id"]
    assert client.get_run(run_id).info.lifecycle_stage == "active"
    assert findings(version, pair, client) == []


def test_a_folder_is_copied_and_examined_there(folder, pair, tmp_path):
    from tests.proto_model.registry.publishing.conftest import published

    beside = folder.with_name(f"{folder.name}.publication")
    trust = Trust.of(False, [pair.public_path])
    with pytest.raises(PublicationError, match="not published"):
        trusted(str(folder), tmp_path / "a", trust)
    publication = published(folder, pair.private)
    beside.mkdir()
    (beside / "manifest.json").write_bytes(publication.manifest)
    (beside / "signature.sigstore.json").write_bytes(publication.signature)

    copy = trusted(str(folder), tmp_path / "b", trust)
    assert copy == tmp_path / "b"
    assert (copy / "MLmodel").read_bytes() == FILES["MLmodel"]
    (folder / "MLmodel").write_text("x")
    with pytest.raises(PublicationError, match="'MLmodel' was changed"):
        trusted(str(folder), tmp_path / "c", trust)
    assert (
        verify(str(folder), [pair.public], publication=Publication.of(beside)).findings[0].name == "MLmodel"
    )


def test_only_registered_versions_and_folders_can_be_trusted(client, version, tmp_path):
    for uri in (version.source, f"runs:/{version.run_id}/model"):
        with pytest.raises(RegistryError, match="names no registered version"):
            trusted(uri, tmp_path / "download", Trust(True))
    with pytest.raises(ArtifactError, match="no folder"):
        trusted("nowhere", tmp_path / "download", Trust(True))


def test_the_verdict_is_json(client, version, pair):
    manifest = publish(uri_of(version), key=pair.private, client=client)

    verdict = verify(uri_of(version), [pair.public], client=client).to_dict()
    assert json.loads(json.dumps(verdict)) == {
        "verified": True,
        "model": version.name,
        "version": str(version.version),
        "published_at": manifest.published_at,
        "published_by": manifest.published_by,
        "signer": pair.public.fingerprint,
        "files": len(FILES),
        "findings": [],
    }
