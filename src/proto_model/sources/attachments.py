"""Attachments: files that a source reads from its working directory, alone or in zip archives.

They are somebody's, so none may leave the folder, replace another, or unpack to more than it should.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from proto_model.errors import counted
from proto_model.file_names import names_fault
from proto_model.sources.errors import SourceError
from proto_model.zip_members import UNREADABLE, UnsafeZipError, plain_members

OUTPUT_DIR = "outputDir"
SOURCE_FILE = "model_source_code.py"
"""What a source is called in its working directory, as on ModelOp's Spark runtime."""

MAX_FILES = 10_000
MAX_BYTES = 4 * 1024**3
MAX_RATIO = 200
"""How many times its size an archive may unpack to; a small one may to `SMALL_BYTES`."""
SMALL_BYTES = 64 * 1024 * 1024

_CHUNK = 1 << 20
_OTHER_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


def unpack(attachments: Sequence[Path], folder: Path) -> dict[str, str]:
    """Put attachments into an empty folder: archives unpacked, other files as they are.

    The result is the SHA-256 of each file by name. A SourceError says what cannot be unpacked.
    """
    digests: dict[str, str] = {}
    for path in attachments:
        if not path.is_file():
            raise SourceError(f"There is no attachment {path}. Give a zip archive, or any other file.")
        if path.name.lower().endswith(_OTHER_ARCHIVES):
            raise SourceError(f"The attachment {path.name} is no zip archive. Pack its files into one.")
        if zipfile.is_zipfile(path) and path.suffix.lower() == ".zip":
            _unpack(path, folder, digests)
            continue
        if path.suffix.lower() == ".zip":
            raise SourceError(f"The attachment {path.name} is no zip archive, or damaged. Pack it again.")
        _check([path.name, *digests], path.name)
        try:
            with path.open("rb") as file:
                digests[path.name] = _copy(file, folder / path.name, MAX_BYTES, path.name)[0]
        except OSError as error:
            raise SourceError(f"Cannot read the attachment {path}: {error.strerror}.") from error
    return digests


def _unpack(path: Path, folder: Path, digests: dict[str, str]) -> None:
    shown = path.name
    most = min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
    left = most
    try:
        with zipfile.ZipFile(path) as archive:
            members = plain_members(archive)
            if len(members) > MAX_FILES:
                raise SourceError(
                    f"The attachment {shown} holds {counted(len(members), 'file')}; at most {MAX_FILES:,} "
                    "are taken."
                )
            _check([*members, *digests], shown)
            for name, info in members.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as file:
                    digests[name], n_bytes = _copy(file, target, left, shown)
                left -= n_bytes
    except UnsafeZipError as error:
        raise SourceError(f"The attachment {shown}: {error} Pack it again without that.") from error
    except UNREADABLE as error:
        raise SourceError(f"The attachment {shown} cannot be unpacked: {error}. Pack it again.") from error


def _check(names: Sequence[str], shown: str) -> None:
    """Raise SourceError unless names can be those of the files of one working directory."""
    fault = names_fault(names)
    if fault:
        raise SourceError(f"The attachment {shown}: {fault} Pack it again with other names.")
    taken = next(
        (n for n in names if n == SOURCE_FILE or n.split("/")[0].casefold() == OUTPUT_DIR.casefold()), ""
    )
    if taken:
        raise SourceError(
            f"The attachment {shown}: {taken!r} is a name that the runtime uses. Give it another."
        )


def _copy(file: IO[bytes], target: Path, most: int, shown: str) -> tuple[str, int]:
    """SHA-256 and size of a file that is copied."""
    digest, n_bytes = hashlib.sha256(), 0
    with target.open("xb") as copy:
        while chunk := file.read(_CHUNK):
            n_bytes += len(chunk)
            if n_bytes > most:
                raise SourceError(
                    f"The attachment {shown} would unpack to more than is taken. Pack less into it."
                )
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest(), n_bytes
