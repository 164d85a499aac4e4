"""`bundle.json`: the SHA-256 of every file of a bundle, and one digest over all of them.

It shows what was damaged, mixed up with another version, added or removed. It does not show who wrote it: the
arrays and the schema are checked against each other as well, with and without this file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from proto_model.errors import ArtifactError

DIGESTS_FILE = "bundle.json"
_FORMAT_VERSION = 1
_ADVICE = "Download the whole model, or log it again."


def write_digests(folder: Path) -> str:
    """Write `bundle.json` for the files of a folder as they are now; the digest over all of them."""
    files = {
        path.name: _sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != DIGESTS_FILE
    }
    content = {"format_version": _FORMAT_VERSION, "digest": _over(files), "files": files}
    (folder / DIGESTS_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return _over(files)


def check_digests(folder: Path, names: Collection[str]) -> str:
    """Digest over a bundle, of whose files these are as they were written.

    A name that is neither listed nor there is no fault. The digest is empty if there is no `bundle.json`, as
    in versions up to 0.3.0. Raises ArtifactError if a file is another one, is missing, or was added.
    """
    path = folder / DIGESTS_FILE
    if not path.exists():
        return ""
    files, digest = read_digests(path)
    for name in names:
        place = folder / name
        if name not in files:
            if place.exists():
                raise ArtifactError(f"{place} is not listed in {DIGESTS_FILE}: it was added later. {_ADVICE}")
            continue
        try:
            found = _sha256(place)
        except OSError as error:
            raise ArtifactError(f"Cannot read {place}: {error.strerror or error}. {_ADVICE}") from error
        if found != files[name]:
            raise ArtifactError(
                f"{place} is not the file that was written with this model: {DIGESTS_FILE} has the SHA-256 "
                f"{files[name][:12]}…, the file {found[:12]}…. {_ADVICE}"
            )
    return digest


def read_digests(path: Path) -> tuple[Mapping[str, str], str]:
    """SHA-256 of each file as `bundle.json` has it, and the one over all; ArtifactError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != _FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has format version {content['format_version']!r}, but this release reads "
                f"{_FORMAT_VERSION}. Use the release that wrote the model."
            )
        files, digest = content["files"], content["digest"]
        if not all(isinstance(text, str) for pair in files.items() for text in pair):
            raise ValueError("its digests are no texts")
        if digest != _over(files):
            raise ValueError("its digest is not that of the files that it lists")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"Cannot read {path}: {error}. {_ADVICE}") from error
    return files, digest


def _over(files: Mapping[str, Any]) -> str:
    lines = [f"{files[name]}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
