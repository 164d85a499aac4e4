"""`bundle.json`, and what is found out without it."""

import json
import shutil

import numpy as np
import pytest

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest
from proto_model.model import Bundle
from proto_model.model.digests import DIGESTS_FILE, check_digests, write_digests
from proto_model.schema import ModelSchema


@pytest.fixture
def folder(bundle, tmp_path):
    """A bundle that may be changed."""
    return shutil.copytree(bundle, tmp_path / "bundle")


@pytest.fixture
def old(folder):
    """The same as up to 0.3.0: no digests, and no mark in the forest."""
    (folder / DIGESTS_FILE).unlink()
    CompiledForest.load(folder / "forest.npz").save(folder / "forest.npz")
    return folder


def edited(folder, change):
    content = json.loads((folder / "schema.json").read_text())
    change(content)
    (folder / "schema.json").write_text(json.dumps(content))


def test_every_file_is_listed_and_the_digest_is_over_all(folder):
    content = json.loads((folder / DIGESTS_FILE).read_text())

    assert set(content["files"]) == {path.name for path in folder.iterdir()} - {DIGESTS_FILE}
    assert Bundle.load(folder).digest == content["digest"] == write_digests(folder)
    (folder / "schema.json").write_text((folder / "schema.json").read_text() + " ")
    assert write_digests(folder) != content["digest"]


@pytest.mark.parametrize("name", ["schema.json", "forest.npz", "background.npz"])
def test_a_file_of_another_version_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(ArtifactError, match=f"{name} is not the file that was written with this model"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["expansion.npz", "decision.json"])
def test_a_file_that_was_added_is_refused(folder, name):
    (folder / name).write_bytes(b"{}")

    with pytest.raises(ArtifactError, match=f"{name} is not listed"):
        Bundle.load(folder)


def test_a_changed_pipeline_is_refused_when_it_is_asked_for(folder):
    (folder / "pipeline.skops").write_bytes(b"PK")

    with pytest.raises(ArtifactError, match=r"pipeline\.skops is not the file"):
        _ = Bundle.load(folder).pipeline


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": "0" * 64}, "not that of the files"),
        ({"files": {}}, "not that of the files"),
        ({"files": {"forest.npz": 5}}, "no texts"),
        ({"files": []}, "Cannot read"),
        ({"format_version": 2}, "format version 2, but this release reads 1"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(folder, change, reason):
    content = json.loads((folder / DIGESTS_FILE).read_text()) | change
    (folder / DIGESTS_FILE).write_text(json.dumps(content))

    with pytest.raises(ArtifactError, match=reason):
        Bundle.load(folder)


def test_a_bundle_without_its_list_is_refused_if_it_was_written_with_one(folder):
    (folder / DIGESTS_FILE).unlink()

    with pytest.raises(ArtifactError, match=r"has no bundle\.json"):
        Bundle.load(folder)


def test_a_version_of_an_earlier_release_still_loads(old, forest_model):
    X = forest_model.background

    assert Bundle.load(old).digest == check_digests(old, ["forest.npz"]) == ""
    np.testing.assert_array_equal(Bundle.load(old).predict_proba(X), forest_model.predict_proba(X))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["features"].reverse(),
        lambda content: content["features"][2]["categories"].reverse(),
        lambda content: content["classes"].reverse(),
        lambda content: content["features"][0].update(name="other"),
        lambda content: content["features"][4].update(nullable=True),
    ],
)
def test_a_schema_in_another_order_is_refused_though_the_digests_were_computed_anew(folder, change):
    """It was read, and the forest took one column for another."""
    edited(folder, change)
    write_digests(folder)

    with pytest.raises(ArtifactError, match=r"forest\.npz is of another schema"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content["features"][1].update(name="age"), "two of the same name"),
        (lambda content: content["features"][2].update(categories="abc"), "categories .* are not a list"),
        (lambda content: content.update(classes=["no", "no"]), "one twice"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused_in_versions_of_earlier_releases(old, change, reason):
    edited(old, change)

    with pytest.raises(ArtifactError, match=reason):
        Bundle.load(old)


def changed_forest(folder, **changes):
    with np.load(folder / "forest.npz") as content:
        arrays = {name: np.array(content[name]) for name in content.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    np.savez(folder / "forest.npz", **arrays)


def with_first(number):
    def change(array):
        array.reshape(-1)[0] = number
        return array

    return change


def nan_threshold(nodes):
    nodes["threshold"][0] = np.nan
    return nodes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"leaves": with_first(-0.5)}, "sum to 1"),
        ({"leaves": with_first(1e300)}, "sum to 1"),
        ({"leaves": with_first(0.123)}, "sum to 1"),
        ({"leaves": np.asfortranarray}, "column by column"),
        ({"nodes": nan_threshold}, "threshold is not a number"),
        ({"n_features": lambda _: np.uint64(2**64 - 1)}, "its features are not 1 to"),
        ({"n_features": lambda _: np.float64(5)}, "its features are not 1 to"),
    ],
)
def test_a_forest_that_is_none_is_refused_in_versions_of_earlier_releases(old, changes, reason):
    changed_forest(old, **changes)

    with pytest.raises(ArtifactError, match=reason):
        Bundle.load(old)


@pytest.mark.parametrize(
    ("name", "number", "reason"),
    [
        ("owner", 1e9, "'owner' has codes of no boolean"),
        ("owner", 0.5, "'owner' has codes of no boolean"),
        ("age", 40.5, "'age' has numbers that are not whole"),
        ("income", 1e300, "'income' has numbers beyond"),
    ],
)
def test_a_background_of_impossible_codes_is_refused_rather_than_explained_with(old, name, number, reason):
    rows = Bundle.load(old).background.copy()
    rows[0, ModelSchema.read(old / "schema.json").feature_names.index(name)] = number
    np.savez(old / "background.npz", rows=rows, kind="rows")

    with pytest.raises(ArtifactError, match=reason):
        _ = Bundle.load(old).background
