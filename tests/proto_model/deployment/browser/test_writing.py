"""The folder of a page, from a version."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from proto_model.cli import export
from proto_model.deployment.browser import write_page
from proto_model.deployment.package.digests import read_manifest
from proto_model.deployment.package.errors import PackageError
from proto_model.registry.publishing import Trust
from proto_model.registry.publishing.findings import PublicationError


@pytest.fixture(scope="session")
def written(model, tmp_path_factory):
    return write_page(str(model), tmp_path_factory.mktemp("pages") / "people")


def test_the_folder_holds_a_page_an_engine_and_a_model_with_their_digests(written):
    folder = written.index.parent
    names = {path.name for path in folder.iterdir()}

    assert names == {"index.html", "engine.mjs", "model.bin", "MANIFEST.sha256"}
    digests = read_manifest((folder / "MANIFEST.sha256").read_bytes())
    for name in names - {"MANIFEST.sha256"}:
        assert digests[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert written.sha256 == digests["model.bin"]
    assert f'data-digest="{written.sha256}"' in written.index.read_text()
    assert (written.title, written.published) == ("Version 7 of people", False)
    assert written.has_rows  # the background of this version is rows of its training table


def test_the_same_version_gives_the_same_bytes(written, model, tmp_path):
    again = write_page(str(model), tmp_path / "again")

    for path in written.index.parent.iterdir():
        assert (again.index.parent / path.name).read_bytes() == path.read_bytes()


def test_nothing_is_written_over(written, model, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for taken in (written.index.parent, file):
        with pytest.raises(PackageError, match="is there already"):
            write_page(str(model), taken)
    assert file.read_text() == "mine"


def test_a_version_that_is_not_published_is_refused_where_that_is_asked(model, tmp_path):
    with pytest.raises(PublicationError):
        write_page(str(model), tmp_path / "out", trust=Trust(require_published=True))
    assert list(tmp_path.iterdir()) == []


def test_a_changed_model_is_refused(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    with (copy / "artifacts/bundle/forest.npz").open("r+b") as file:
        file.seek(-30, 2)
        file.write(b"x")
    with pytest.raises(Exception, match=r"forest\.npz"):
        write_page(str(copy), tmp_path / "out")


def test_the_command_says_where_the_page_is_and_that_it_holds_rows(model, tmp_path, capsys):
    out = tmp_path / "page"

    assert export.main(["browser", "-m", str(model), "--out", str(out), "--json"]) == 0

    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["path"] == str(out / "index.html")
    assert told["bytes"] == (out / "index.html").stat().st_size
    assert "holds rows of the training table" in said.err
