"""Attachments come from anybody."""

import stat
import zipfile
from pathlib import Path

import pytest

from proto_model.sources import SourceError, attachments, unpack


def zipped(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def test_archives_are_unpacked_and_other_files_copied(work, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"model.pkl": b"1", "data/": b"", "data/x.txt": b"2"})
    (tmp_path / "names.txt").write_bytes(b"3")

    found = unpack([archive, tmp_path / "names.txt"], work)

    assert {name: (work / name).read_bytes() for name in found} == {
        "model.pkl": b"1",
        "data/x.txt": b"2",
        "names.txt": b"3",
    }


def test_how_an_archive_is_packed_does_not_count(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    found = []
    for n, folder in enumerate(folders):
        folder.mkdir()
        archive = tmp_path / f"{n}.zip"
        with zipfile.ZipFile(archive, "w", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][n]) as packed:
            packed.writestr("model", "x" * 100)
        found.append(unpack([archive], folder))

    assert found[0] == found[1]


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "a/../../evil", "C:evil", "a\\..\\evil", "outputDir/x", "model_source_code.py"],
)
def test_no_name_leads_out_or_takes_a_name_of_the_runtime(name, work, tmp_path):
    archive = zipped(tmp_path / "a.zip", {name: b"x"})

    with pytest.raises(SourceError, match=r"The attachment a\.zip"):
        unpack([archive], work)

    assert {path.name for path in tmp_path.rglob("*")} == {"work", "a.zip"}


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(mode, work, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"evil": b"/etc/passwd"}, mode)

    with pytest.raises(SourceError, match="is no plain file"):
        unpack([archive], work)


def test_one_name_twice_is_refused_within_and_across_archives(work, tmp_path):
    one = zipped(tmp_path / "a.zip", {"model": b"1"})
    other = zipped(tmp_path / "b.zip", {"MODEL": b"2"})

    with pytest.raises(SourceError, match="is also written"):
        unpack([one, other], work)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(one, "a") as archive:
        archive.writestr("model", b"3")
    with pytest.raises(SourceError, match="is there twice"):
        unpack([one], tmp_path / "other")


def test_a_file_that_is_also_a_folder_is_refused(work, tmp_path):
    with pytest.raises(SourceError, match="cannot be unpacked"):
        unpack([zipped(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"})], work)


def test_a_small_archive_does_not_unpack_to_much(work, tmp_path, monkeypatch):
    monkeypatch.setattr(attachments, "SMALL_BYTES", 1 << 20)
    archive = zipped(tmp_path / "a.zip", {f"zeros{n}": bytes(1 << 19) for n in range(4)})

    with pytest.raises(SourceError, match="would unpack to more than is taken"):
        unpack([archive], work)
    assert sum(path.stat().st_size for path in work.iterdir()) <= 2 << 20


def test_too_many_files_are_refused(work, tmp_path, monkeypatch):
    monkeypatch.setattr(attachments, "MAX_FILES", 2)

    with pytest.raises(SourceError, match="holds 3 files; at most 2"):
        unpack([zipped(tmp_path / "a.zip", {name: b"" for name in "abc"})], work)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.zip", b"hello", "no zip archive"),
        ("a.tar.gz", b"hello", "Pack its files"),
        ("a.zip", None, "There is no attachment"),
    ],
)
def test_what_is_no_attachment_is_told(name, content, said, work, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=said):
        unpack([tmp_path / name], work)
