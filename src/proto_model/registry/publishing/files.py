"""The files of a version: what they are called, and their SHA-256. They may be nothing but plain files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from proto_model.file_names import names_fault
from proto_model.registry.publishing.findings import Finding, check

# What MLflow adds to a version when it downloads one: its name and number.
REGISTERED = "registered_model_meta"
CACHES = "__pycache__"

# A pipe in place of a file is not waited for, and a link is not followed.
_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    sha256: str
    n_bytes: int


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which a signature lists them: folder by folder."""
    return sorted(names, key=lambda name: PurePosixPath(name).parts)


def contents(folder: Path) -> tuple[dict[str, Content], list[Finding]]:
    """Files of a version's folder, and what may not be there."""
    found: dict[str, Content] = {}
    findings = []
    for name, path in walked(folder):
        try:
            found[name] = _content(path)
        except OSError as error:
            is_link = error.errno == errno.ELOOP  # as O_NOFOLLOW has it
            why = "is no plain file" if is_link else f"cannot be read ({error.strerror})"
            findings.append(Finding("unsafe", name, f"{name!r} {why}."))
    fault = names_fault(found)
    if fault:
        findings.append(Finding("unsafe", "", fault))
    return found, findings


def copied(folder: Path, to: Path) -> Path:
    """Copy of a folder's plain files where nobody else may write; PublicationError if there are others."""
    for name, path in walked(folder):
        target = to / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened(path) as file, target.open("xb") as copy:
                shutil.copyfileobj(file, copy)
        except OSError as error:
            check(str(folder), [Finding("unsafe", name, f"{name!r} cannot be copied ({error.strerror}).")])
    return to


def without_caches(download: Path) -> Path:
    """A download without the caches of Python's that its store has since a model was loaded in place there.

    Nobody publishes them, and what Python would run in place of the code is not to be used either.
    """
    for place, folders, _ in os.walk(download):
        if CACHES in folders and not Path(place, CACHES).is_symlink():
            shutil.rmtree(Path(place, CACHES))
            folders.remove(CACHES)
    return download


def walked(folder: Path, left_out: Collection[str] = ()) -> Iterator[tuple[str, Path]]:
    """Name and path of all that is in a folder and is no folder itself; links are not followed.

    A folder that cannot be read is given in place of what is in it. `left_out` are names from the folder on.
    """
    left = [("", folder)]
    while left:
        prefix, place = left.pop()
        try:
            paths = sorted(place.iterdir())
        except OSError:
            if not prefix:
                raise
            yield prefix.rstrip("/"), place
            continue
        for path in paths:
            name = f"{prefix}{path.name}"
            if name in left_out:
                continue
            if _is_folder(path):
                left.append((f"{name}/", path))
            else:
                yield name, path


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:  # such as a path that is too long; to open it says so
        return False


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A plain file, open for reading; OSError if it is something else, or a link."""
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no plain file")
        yield file


def _content(path: Path) -> Content:
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Content(digest, file.tell())
