"""Packages of somebody who means harm: each is refused with a sentence, and nothing is written elsewhere."""

import contextlib
import hashlib
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.deployment.package import PackageError, opening
from proto_model.deployment.package.archive import write_zip
from proto_model.deployment.package.digests import manifest_text
from proto_model.deployment.package.opening import opened_package

FILES = {"interface.py": b"a = 1\n", "artifacts/model/MLmodel": b"flavors: {}\n" * 50, "artifacts/empty": b""}


def sealed(files, **digests):
    """The same files with their manifest, in which digests may be others."""
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} | digests
    return {**files, "MANIFEST.sha256": manifest_text(found).encode()}


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def written(tmp_path, files, kind):
    """Folder or zip file that holds these files."""
    if kind == "zip":
        write_zip(tmp_path / "package.zip", files)
        return tmp_path / "package.zip"
    for name, content in files.items():
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "package"


@pytest.fixture(params=["folder", "zip"])
def kind(request):
    return request.param


def test_a_package_is_opened_apart_and_forgotten(kind, tmp_path):
    source = written(tmp_path, sealed(FILES), kind)

    with opened_package(source) as folder:
        assert read(folder) == sealed(FILES)
        assert not folder.is_relative_to(tmp_path)
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert not folder.exists()


def test_what_using_a_package_leaves_there_is_not_looked_at(tmp_path):
    source = written(tmp_path, sealed(FILES), "folder")
    for name in (".venv/bin", "__pycache__"):
        (source / name).mkdir(parents=True)
    os.symlink("/usr/bin/python3", source / ".venv" / "bin" / "python")
    (source / "__pycache__" / "interface.cpython-311.pyc").write_bytes(b"")

    with opened_package(source) as folder:
        assert read(folder) == sealed(FILES)


CHANGED = {
    "a changed file": ({**sealed(FILES), "interface.py": b"a = 2\n"}, "'interface.py' was changed"),
    "an added file": ({**sealed(FILES), "more.py": b""}, r"'more\.py' is not in MANIFEST"),
    "a removed file": (
        {name: content for name, content in sealed(FILES).items() if name != "interface.py"},
        "'interface.py' is missing",
    ),
    "no manifest": (FILES, "it is no package"),
    "no file at all": ({}, "it is no package"),
    "a manifest of something else": ({"MANIFEST.sha256": b"hello\n"}, "Line 1 of MANIFEST"),
    "a manifest in other letters": ({"MANIFEST.sha256": b"\xff"}, "no text in UTF-8"),
    "a manifest that leads out": (
        {"MANIFEST.sha256": b"0" * 64 + b"  ../../secret\n"},
        "leads out of the folder",
    ),
    "a manifest of itself": ({"MANIFEST.sha256": b"0" * 64 + b"  MANIFEST.sha256\n"}, "is there twice"),
    "a name twice in the manifest": (
        {**FILES, "MANIFEST.sha256": sealed(FILES)["MANIFEST.sha256"] * 2},
        "is there twice",
    ),
    "names that are one on other systems": (
        sealed({"interface.py": b"", "Interface.py": b""}),
        r"also written '[iI]nterface\.py'",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_not_as_it_was_written_is_refused(name, kind, tmp_path):
    files, said = CHANGED[name]
    (tmp_path / "package").mkdir()
    source = written(tmp_path, files, kind)

    with pytest.raises(PackageError, match=said), opened_package(source):
        pytest.fail("it was opened")


def member(name: str, content: bytes = b"x", **facts) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


HOSTILE = {
    "a path that leads out": ([member("../evil.py")], "leads out of the folder"),
    "a path deep inside that leads out": ([member("artifacts/../../evil.py")], "leads out of the folder"),
    "an absolute path": ([member("/tmp/evil.py")], "no relative path"),
    "a path of another system": ([member("..\\evil.py")], "no relative path"),
    "a drive": ([member("C:evil.py")], "no relative path"),
    "a link": ([member("evil", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)], "no plain file"),
    "a pipe": ([member("evil", external_attr=stat.S_IFIFO << 16)], "no plain file"),
    "a device": ([member("evil", external_attr=stat.S_IFBLK << 16)], "no plain file"),
    "a name twice": ([member("interface.py", b"import os\n")], "is there twice"),
    "another compression": ([member("evil", compress_type=zipfile.ZIP_LZMA)], "packed in a way"),
    "a name of control characters": ([member("evil\x1b[2J.py")], "characters that other systems"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives_are_refused_and_leave_nothing(name, tmp_path, monkeypatch):
    members, said = HOSTILE[name]
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in [*(member(*item) for item in sealed(FILES).items()), *members]:
            archive.writestr(one, content, one.compress_type)

    with pytest.raises(PackageError, match=said), opened_package(path):
        pytest.fail("it was opened")

    assert {found.name for found in tmp_path.rglob("*")} == {"temporary", "package.zip"}
    assert not Path("/tmp/evil.py").exists()


@pytest.mark.parametrize("place", ["file", "folder", "pipe"])
def test_links_and_pipes_in_a_folder_are_refused(place, tmp_path):
    source = written(tmp_path, sealed(FILES), "folder")
    if place == "file":
        (source / "interface.py").unlink()
        (source / "interface.py").symlink_to(__file__)
    elif place == "folder":
        shutil.move(source / "artifacts", tmp_path / "elsewhere")
        (source / "artifacts").symlink_to(tmp_path / "elsewhere")
    else:
        (source / "interface.py").unlink()
        os.mkfifo(source / "interface.py")

    with pytest.raises(PackageError, match="is no plain file"), opened_package(source):
        pytest.fail("it was opened")


def test_a_small_archive_does_not_unpack_to_much(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "SMALL_BYTES", 1 << 20)
    source = written(tmp_path, sealed({"zeros": bytes(8 << 20)}), "zip")
    assert source.stat().st_size * opening.MAX_RATIO < 8 << 20
    copied = []
    copy = opening._copy

    def counting(file, target, most):
        found = copy(file, target, most)
        copied.append(target.stat().st_size)
        return found

    monkeypatch.setattr(opening, "_copy", counting)
    with pytest.raises(PackageError, match="would unpack to more than"), opened_package(source):
        pytest.fail("it was opened")
    assert sum(copied) <= 2 << 20


def test_too_many_files_are_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_FILES", 3)
    source = written(tmp_path, sealed(FILES), kind)

    with pytest.raises(PackageError, match="holds 4 files, at most 3"), opened_package(source):
        pytest.fail("it was opened")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "package.zip").write_text("hello")
    for path, said in (
        (tmp_path / "package.zip", "cannot be unpacked"),
        (tmp_path / "none", "There is no package"),
    ):
        with pytest.raises(PackageError, match=said), opened_package(path):
            pytest.fail("it was opened")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    return written(folder, sealed(FILES), "zip").read_bytes(), folder / "damaged.zip"


@given(data=st.data())
def test_a_damaged_archive_is_refused_or_holds_the_same(archive, data):
    content, path = archive
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        changed[: data.draw(st.sampled_from([len(content), len(content) - 1, len(content) // 2]))]
    )

    # Whatever else is raised fails the test.
    with contextlib.suppress(PackageError), opened_package(path) as folder:
        assert read(folder) == sealed(FILES)
