import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from proto_model.deployment.image.oci import write_image, write_layer


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/program").write_text("runs")
    (folder / "usr/bin/program").chmod(0o700)
    (folder / "usr/bin/link").symlink_to("program")
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    (folder / ("long" * 30)).write_text("a name of more than a hundred letters")
    return folder


def entries(layer: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer) as tar:
        return {entry.name: entry for entry in tar}


def blobs(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


def test_a_layer_belongs_to_root_and_bears_one_time(tree, tmp_path):
    layer = write_layer(tree, tmp_path / "layer", "all", 1_700_000_000)

    found = entries(layer.path)

    assert {(e.uid, e.gid, e.uname, e.mtime) for e in found.values()} == {(0, 0, "", 1_700_000_000)}
    assert {name: oct(e.mode) for name, e in found.items() if len(name) < 100} == {
        "secret": "0o644",
        "tmp": "0o1777",
        "usr": "0o755",
        "usr/bin": "0o755",
        "usr/bin/link": "0o777",
        "usr/bin/program": "0o755",
    }
    assert found["usr/bin/link"].linkname == "program"


def test_the_same_files_give_the_same_bytes_whenever_and_in_whatever_order_they_were_written(tree, tmp_path):
    first = write_layer(tree, tmp_path / "first", "all", 0)
    again = tmp_path / "again"
    again.mkdir()
    for name in sorted((p.relative_to(tree) for p in tree.rglob("*")), reverse=True):
        source, target = tree / name, again / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
            os.utime(target, (1, 1))
    (again / "tmp").chmod(0o1777)

    second = write_layer(again, tmp_path / "second", "all", 0)

    assert (second.digest, second.diff_id) == (first.digest, first.diff_id)


def test_digests_and_sizes_are_those_of_the_bytes(tree, tmp_path):
    layer = write_layer(tree, tmp_path / "layer", "all", 0)

    packed = layer.path.read_bytes()
    plain = gzip.decompress(packed)

    assert layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert (layer.n_bytes, layer.n_unpacked_bytes) == (len(packed), len(plain))


def test_an_image_is_an_oci_layout_and_what_docker_save_writes(tree, tmp_path):
    layer = write_layer(tree, tmp_path / "layer", "all", 0)
    config = {"Entrypoint": ["/usr/bin/program"], "User": "65532:65532"}

    image = write_image(tmp_path / "image.tar", [layer], config, "amd64", "2026-01-01T00:00:00Z", "churn:7")

    files = blobs(image.path)
    index = json.loads(files["index.json"])["manifests"][0]
    manifest = json.loads(files["blobs/" + index["digest"].replace(":", "/")])
    configuration = json.loads(files["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    docker = json.loads(files["manifest.json"])[0]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert index["digest"] == image.digest
    assert index["annotations"]["org.opencontainers.image.ref.name"] == "churn:7"
    assert manifest["layers"] == [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer.digest,
            "size": layer.n_bytes,
        }
    ]
    assert configuration["rootfs"]["diff_ids"] == [layer.diff_id]
    assert configuration["config"] == config
    assert docker["RepoTags"] == ["churn:7"]
    assert [files[name] for name in docker["Layers"]] == [layer.path.read_bytes()]
    assert json.loads(files[docker["Config"]]) == configuration
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_an_image_that_cannot_be_written_leaves_the_one_that_was_there(tree, tmp_path):
    layer = write_layer(tree, tmp_path / "layer", "all", 0)
    target = tmp_path / "image.tar"
    target.write_bytes(b"an older one")
    layer.path.unlink()

    with pytest.raises(FileNotFoundError):
        write_image(target, [layer], {}, "amd64", "2026-01-01T00:00:00Z")

    assert target.read_bytes() == b"an older one"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_tree_is_a_layer(tmp_path):
    (tmp_path / "nothing").mkdir()

    layer = write_layer(tmp_path / "nothing", tmp_path / "layer", "none", 0)

    assert tarfile.open(fileobj=io.BytesIO(layer.path.read_bytes())).getnames() == []
