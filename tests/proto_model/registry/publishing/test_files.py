"""Names and contents of a version's files."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.file_names import name_fault, names_fault
from proto_model.registry.publishing import Manifest, PublicationError
from proto_model.registry.publishing.files import Content, contents, copied
from proto_model.registry.publishing.manifest import read_json

GOOD_NAMES = st.lists(
    st.text(st.characters(categories=["L", "N"], exclude_characters="/\\"), min_size=1, max_size=5),
    min_size=1,
    max_size=3,
).map("/".join)


@given(st.text(max_size=12))
def test_a_name_that_is_taken_stays_below_the_folder(name):
    if not name_fault(name):
        assert os.path.normpath(os.path.join("/a/b", name)) == f"/a/b/{name}"


@pytest.mark.parametrize("name", ["MLmodel", "artifacts/bundle/forest.npz", "a b/ü.txt", "..a/b..", "ab:c"])
def test_usual_names_are_taken(name):
    assert name_fault(name) == ""


@pytest.mark.parametrize("names", [["a", "A"], ["\u00c5", "\u00e5"], ["straße", "STRASSE"], ["a", "a"]])
def test_names_that_may_be_those_of_one_file_are_refused(names):
    assert names_fault(names)


@given(st.dictionaries(GOOD_NAMES, st.binary(max_size=4), min_size=1, max_size=5), st.text(max_size=5))
def test_a_manifest_is_read_as_it_was_written(files, text):
    contents = {name: Content(content.hex().zfill(64), len(content)) for name, content in files.items()}
    manifest = Manifest("churn", "3", "2026-11-22", text, contents, {"tags": {text: text}})
    if names_fault(contents):
        with pytest.raises(PublicationError):
            Manifest.of_bytes(manifest.to_bytes())
    else:
        assert Manifest.of_bytes(manifest.to_bytes()) == manifest
        assert Manifest.of_bytes(manifest.to_bytes()).to_bytes() == manifest.to_bytes()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, b'{"a": 1, "a": 1}'])
def test_what_is_no_json_object_is_refused(content):
    with pytest.raises(PublicationError):
        read_json(content, "It")


def test_links_are_not_copied(tmp_path):
    (tmp_path / "from" / "a").mkdir(parents=True)
    (tmp_path / "from" / "a" / "b").write_text("1")
    assert (copied(tmp_path / "from", tmp_path / "to") / "a" / "b").read_text() == "1"

    (tmp_path / "from" / "c").symlink_to("/etc/passwd")
    with pytest.raises(PublicationError, match="'c' cannot be copied"):
        copied(tmp_path / "from", tmp_path / "other")


def test_a_file_that_is_deeper_than_paths_may_be_is_found(tmp_path):
    places = [os.open(tmp_path, os.O_RDONLY)]
    try:
        for _ in range(1100):
            os.mkdir("deep", dir_fd=places[-1])
            places.append(os.open("deep", os.O_RDONLY, dir_fd=places.pop()))
        os.close(os.open("file", os.O_CREAT, dir_fd=places[-1]))

        found, findings = contents(tmp_path)

        assert found == {}
        assert ["File name too long" in finding.detail for finding in findings] == [True]
    finally:
        os.close(places[0])
        subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)  # shutil calls itself, too


def test_importing_it_loads_neither_mlflow_nor_cryptography():
    code = (
        "import sys, proto_model.registry.publishing, proto_model.registry.offer, proto_model.cli.serve\n"
        "print({'mlflow', 'cryptography', 'yaml'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
