"""An OCI image as one file: layers, configuration, manifest and index.

The same content gives the same bytes: entries are sorted, belong to root and bear one time. The file is an
OCI image layout, and has the `manifest.json` of `docker save` besides, because older Docker engines load
nothing else.

OCI image specification 1.1: https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LEVEL = 9


@dataclass(frozen=True)
class Layer:
    """Part of a file system, compressed; `diff_id` is the digest of what it was before."""

    path: Path
    comment: str
    digest: str
    diff_id: str
    n_bytes: int
    n_unpacked_bytes: int


@dataclass(frozen=True)
class Image:
    """A written image: where it is, the digest of its manifest, and its layers."""

    path: Path
    digest: str
    layers: tuple[Layer, ...]

    @property
    def n_bytes(self) -> int:
        """Size of the layers, compressed: what a registry stores and a node downloads."""
        return sum(layer.n_bytes for layer in self.layers)


class _Digest:
    """A file that is written to, its SHA-256 and its length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256, self.n_bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"


def write_layer(tree: Path, path: Path, comment: str, epoch: int) -> Layer:
    """Layer of everything below a folder, as if the folder were `/`; `epoch` is the time of all entries."""
    with path.open("wb") as file:
        packed = _Digest(file)
        # An empty name and the time 0, or the header would tell two files apart.
        with gzip.GzipFile("", "wb", _LEVEL, packed, mtime=0) as zipped:
            plain = _Digest(zipped)  # type: ignore[arg-type]  # a GzipFile is an IO but for its type
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for name in _names(tree):
                    _add(tar, tree / name, name, epoch)
    return Layer(path, comment, packed.digest, plain.digest, packed.n_bytes, plain.n_bytes)


def _names(tree: Path) -> list[str]:
    """Paths of all that is below a folder, relative to it, parents before what they hold."""
    names = []
    for folder, folders, files in os.walk(tree):
        names += [os.path.relpath(os.path.join(folder, name), tree) for name in (*folders, *files)]
    return sorted(names)


def _add(tar: tarfile.TarFile, source: Path, name: str, epoch: int) -> None:
    status = source.lstat()
    entry = tarfile.TarInfo(name)
    entry.mtime = epoch
    entry.mode = 0o755 if stat.S_IMODE(status.st_mode) & 0o111 else 0o644
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
        tar.addfile(entry)
    elif stat.S_ISDIR(status.st_mode):
        sticky = bool(status.st_mode & stat.S_ISVTX)  # /tmp
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if sticky else 0o755
        tar.addfile(entry)
    else:
        entry.size = status.st_size
        with source.open("rb") as file:
            tar.addfile(entry, file)


def write_image(
    path: Path,
    layers: Sequence[Layer],
    config: Mapping[str, Any],
    architecture: str,
    created: str,
    reference: str = "",
) -> Image:
    """Write an image of layers into a tar file, in one step: the file is whole, or as it was.

    Parameters
    ----------
    path : Path
        The file.
    layers : sequence of Layer
        From the bottom up.
    config : mapping
        What runs: `Entrypoint`, `Env`, `User`, `Labels` and the like, as in the specification.
    architecture : str
        Such as `amd64`.
    created : str
        Time of the image, RFC 3339.
    reference : str
        `NAME:TAG` that the image gets where it is loaded; empty for none.
    """
    blobs: dict[str, bytes] = {}

    def blob(content: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    configuration = blob(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": created, "comment": layer.comment} for layer in layers],
        }
    )
    manifest = blob(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, **configuration},
            "layers": [
                {"mediaType": _LAYER, "digest": layer.digest, "size": layer.n_bytes} for layer in layers
            ],
        }
    )
    entry = {"mediaType": _MANIFEST, **manifest, "platform": {"architecture": architecture, "os": "linux"}}
    texts = _indexes(entry, configuration["digest"], layers, reference)
    files: dict[str, bytes | Path] = {name: json.dumps(content).encode() for name, content in texts.items()}
    files |= {_blob_path(digest): data for digest, data in blobs.items()}
    files |= {_blob_path(layer.digest): layer.path for layer in layers}
    new = path.with_name(f".{path.name}.new")
    try:
        _write_tar(new, files)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return Image(path, manifest["digest"], tuple(layers))


def _indexes(
    entry: dict[str, Any], configuration: str, layers: Sequence[Layer], reference: str
) -> dict[str, Any]:
    """Files that tell what the blobs are: those of an OCI layout, and the one of `docker save`."""
    if reference:
        entry["annotations"] = {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference,
        }
    return {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]},
        "manifest.json": [
            {
                "Config": _blob_path(configuration),
                "RepoTags": [reference] if reference else None,
                "Layers": [_blob_path(layer.digest) for layer in layers],
            }
        ],
    }


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _write_tar(path: Path, files: Mapping[str, bytes | Path]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(entry, file)
