"""One alias, followed: a registry that says what the test wants, and real bundles."""

import gc
import json
import os
import shutil
import weakref

import pytest

from proto_model.errors import RegistryError
from proto_model.forest import CompiledForest
from proto_model.model import write_bundle
from proto_model.model.digests import write_digests
from proto_model.registry.follow import MAX_PAUSE_S, Follower, follow
from proto_model.registry.offer import Followed, Offer, hold
from proto_model.registry.publishing import PublicationError
from proto_model.schema import ModelSchema
from proto_model.table import encode


@pytest.fixture(scope="module")
def whole(mixed_pipeline, mixed_data, tmp_path_factory):
    """Folder of a logged model, as far as it matters."""
    folder = tmp_path_factory.mktemp("whole")
    X = encode(mixed_data.X_train, mixed_data.schema)
    write_bundle(folder / "artifacts" / "bundle", mixed_pipeline, mixed_data.schema, X)
    return folder


class Registry:
    """What the alias names, and what is done to the versions that are downloaded."""

    def __init__(self, whole):
        self.whole = whole
        self.version = "1"
        self.downloads = []
        self.spoil = lambda folder: None

    def resolve(self, followed):
        if isinstance(self.version, Exception):
            raise self.version
        return self.version

    def download(self, uri, folder):
        self.downloads.append(uri)
        shutil.copytree(self.whole, folder)
        self.spoil(folder)
        return folder


@pytest.fixture
def registry(whole):
    return Registry(whole)


@pytest.fixture
def follower(registry, tmp_path):
    return Follower(tmp_path, 0, Followed("people", "champion"), registry.resolve, registry.download)


@pytest.mark.parametrize(
    ("uri", "followed"),
    [
        ("models:/people@champion", Followed("people", "champion")),
        ("models:/people/7", None),
        ("runs:/abc/model", None),
        ("build/model", None),
    ],
)
def test_an_alias_can_be_followed_and_nothing_else(uri, followed):
    assert Followed.of(uri) == followed


def test_the_same_version_is_not_downloaded_again(follower, registry, tmp_path):
    follower.check()
    follower.check()

    assert registry.downloads == ["models:/people/1"]
    assert (Offer.read(tmp_path, 0).serial, Offer.read(tmp_path, 0).version) == (1, "1")


def test_the_folder_of_the_version_before_goes_when_nobody_holds_it(follower, registry, tmp_path):
    follower.check()
    held = hold(follower.offer.folder(tmp_path, 0))
    registry.version = "2"
    follower.check()
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["1", "2"]

    os.close(held)
    follower.check()

    assert [path.name for path in (tmp_path / "0").iterdir()] == ["2"]


def test_what_a_download_leaves_goes_at_once(follower, registry):
    left = []

    def leave_a_circle(folder):
        circle = Registry(folder)
        circle.itself = circle
        left.append(weakref.ref(circle))

    registry.spoil = leave_a_circle
    gc.disable()  # it comes when it likes
    try:
        follower.check()
    finally:
        gc.enable()

    assert follower.offer.version == "1"
    assert [one() for one in left] == [None]


def cut_off(folder):
    forest = folder / "artifacts" / "bundle" / "forest.npz"
    forest.write_bytes(forest.read_bytes()[:99])


def no_memory(folder):
    raise MemoryError


def no_background(folder):
    (folder / "artifacts" / "bundle" / "background.npz").unlink()


def not_published(folder):
    raise PublicationError("Version 2 of 'people' is not published.")


def for_files(folder):
    (folder / "file.py").touch()


def other_schema(folder):
    path = folder / "artifacts" / "bundle" / "schema.json"
    schema = json.loads(path.read_text())
    schema["features"][0]["name"] += "_2"
    path.write_text(json.dumps(schema))
    forest = path.with_name("forest.npz")
    CompiledForest.load(forest).save(forest, ModelSchema.read(path).fingerprint)
    write_digests(path.parent)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (cut_off, "version"),
        (no_background, "version"),
        (no_memory, "memory"),
        (not_published, "publication"),
        (for_files, "schema"),
        (other_schema, "schema"),
    ],
)
def test_a_version_that_does_not_do_is_not_offered_and_the_old_one_stays(
    follower, registry, tmp_path, spoil, problem
):
    follower.check()
    registry.version, registry.spoil = "2", spoil
    follower.check()

    offer = Offer.read(tmp_path, 0)
    assert (offer.serial, offer.version, offer.problem, offer.wanted) == (1, "1", problem, "2")
    assert offer.detail
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["1"]

    registry.spoil = lambda folder: None
    follower.check(anew=True)
    assert (Offer.read(tmp_path, 0).version, Offer.read(tmp_path, 0).problem) == ("2", "")


def test_another_schema_is_not_downloaded_again_until_somebody_asks(follower, registry):
    follower.check()
    registry.version, registry.spoil = "2", other_schema
    for _ in range(3):
        follower.check()

    assert registry.downloads == ["models:/people/1", "models:/people/2"]
    assert follower.offer.problem == "schema"
    assert follower.n_failures == 0


@pytest.mark.parametrize(("answer", "problem"), [(RegistryError("away"), "registry"), (None, "alias")])
def test_a_registry_that_does_not_say_is_asked_less_and_less_often(follower, registry, answer, problem):
    follower.check()
    registry.version = answer
    pauses = []
    for _ in range(12):
        follower.check()
        pauses.append(follower.pause_s(10) / 10)
    since = follower.offer.since
    follower.check()

    assert follower.offer.problem == problem
    assert follower.offer.since == since
    assert pauses[0] < pauses[2] < pauses[-1] <= MAX_PAUSE_S / 10 * 1.1

    registry.version = "1"
    follower.check()
    assert follower.offer.problem == ""
    assert registry.downloads == ["models:/people/1"]


def test_what_went_wrong_is_told_without_the_query_of_a_url(follower, registry):
    follower.check()
    registry.version = RegistryError("GET https://store/a.npz?signature=secret failed. Is it there?")
    follower.check()

    assert follower.offer.detail == "GET https://store/a.npz?... failed. Is it there?"


def test_it_asks_at_once_when_it_is_told_to_and_ends_with_its_input(follower, registry):
    answers = iter([True, False, None])
    follow([follower], 1000, lambda seconds: next(answers))

    assert registry.downloads == ["models:/people/1"]
