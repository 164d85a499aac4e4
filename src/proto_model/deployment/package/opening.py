"""Packages that nobody vouches for: a folder or a zip file, copied where nobody else may write, and verified.

Only plain files of its manifest are taken, and only if they are what the manifest says. So nobody can
exchange one afterwards, and nothing is unpacked to anywhere else, or to more than a multiple of its size.
"""

from __future__ import annotations

import hashlib
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from proto_model.deployment.package.digests import MAX_BYTES, read_manifest
from proto_model.deployment.package.errors import NoPackageError, PackageError
from proto_model.deployment.package.layout import LEFT_ALONE, MANIFEST
from proto_model.errors import counted
from proto_model.file_names import names_fault
from proto_model.registry.publishing.files import opened, walked
from proto_model.zip_members import UNREADABLE, UnsafeZipError, plain_members

MAX_FILES = 20_000
MAX_RATIO = 100
"""How many times its size a zip file may unpack to; a small one may to `SMALL_BYTES`."""
SMALL_BYTES = 64 * 1024 * 1024

_CHUNK = 1 << 20
_ADVICE = "Get the package again from who made it."

Open = Callable[[str], AbstractContextManager[IO[bytes]]]


@contextmanager
def opened_package(source: Path) -> Iterator[Path]:
    """A folder with the files of a package, which are those of its manifest; it is removed in the end.

    Raises PackageError if the package is none, or not as it was written.
    """
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        folder = Path(temporary, "package")
        folder.mkdir()
        if source.is_dir():
            _take(source, _names_of_folder(source), lambda name: opened(source / name), folder, None)
        elif not source.is_file():
            raise NoPackageError(f"There is no package {source}. Give the folder or the zip file of one.")
        else:
            try:
                with zipfile.ZipFile(source) as archive:
                    members = plain_members(archive)
                    most = max(SMALL_BYTES, MAX_RATIO * source.stat().st_size)
                    _take(source, members, lambda name: archive.open(members[name]), folder, most)
            except UnsafeZipError as error:
                raise PackageError(f"{source}: {error} {_ADVICE}") from error
            except UNREADABLE as error:
                raise NoPackageError(f"{source} cannot be unpacked: {error}. {_ADVICE}") from error
        yield folder


def _take(source: Path, names: Mapping[str, object], open_: Open, folder: Path, most: int | None) -> None:
    """Copy the files of a package, of all of which not more than `most` bytes, as its manifest has them."""
    if len(names) > MAX_FILES:
        raise PackageError(f"{source} holds {counted(len(names), 'file')}, at most {MAX_FILES:,} are taken.")
    if fault := names_fault(names):
        raise PackageError(f"{source}: {fault} {_ADVICE}")
    if MANIFEST not in names:
        raise NoPackageError(
            f"{source} holds no {MANIFEST}: it is no package. Give the folder or zip file of one."
        )
    with open_(MANIFEST) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PackageError(f"{MANIFEST} of {source} has more than {MAX_BYTES:,} bytes. {_ADVICE}")
    digests = read_manifest(content)
    missing, added = sorted(digests.keys() - names.keys()), sorted(names.keys() - digests.keys() - {MANIFEST})
    if missing or added:
        what = f"{missing[0]!r} is missing" if missing else f"{added[0]!r} is not in {MANIFEST}"
        raise PackageError(f"{source} is not as it was written: {what}. {_ADVICE}")
    (folder / MANIFEST).write_bytes(content)
    left = most
    for name, digest in digests.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_(name) as file:
            found, n_bytes = _copy(file, target, left)
        if left is not None:
            left -= n_bytes
            if left < 0:
                raise PackageError(
                    f"{source} would unpack to more than {most:,} bytes, from {source.stat().st_size:,}."
                )
        if found != digest:
            raise PackageError(f"{source} is not as it was written: {name!r} was changed. {_ADVICE}")


def _copy(file: IO[bytes], target: Path, most: int | None) -> tuple[str, int]:
    """SHA-256 and size of a file that is copied; one that is too large is not copied to its end."""
    digest, n_bytes = hashlib.sha256(), 0
    with target.open("xb") as copy:
        while chunk := file.read(_CHUNK):
            n_bytes += len(chunk)
            if most is not None and n_bytes > most:
                break
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest(), n_bytes


def _names_of_folder(source: Path) -> dict[str, Path]:
    """Files of a folder, without what using the package left there."""
    found = {}
    for name, path in walked(source, left_out=LEFT_ALONE):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise PackageError(f"{source}: {name!r} is no plain file. {_ADVICE}")
        found[name] = path
        if len(found) > MAX_FILES:
            break
    return found
