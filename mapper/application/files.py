"""The files of an application's own mapping beside a version's `schema.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mapper.application.code import MANIFEST, MAX_BYTES, read_manifest
from mapper.errors import MappingError

MAPPING = "mapping.yaml"


def application_files(names: Iterable[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """Those of the files in a version's `mapper/` that make up its mapping, as `read` gives them.

    Raises MappingError if the code has a manifest that is wrong, or names a file that is not there.
    """
    present = set(names)
    files = {name: read(name) for name in (MAPPING, MANIFEST) if name in present}
    if MANIFEST in files:
        _, modules = read_manifest(files[MANIFEST])
        if missing := sorted(set(modules) - present):
            raise MappingError(f"{MANIFEST} of the version names {missing[0]}, which is not there.")
        files |= {name: read(name) for name in modules}
        if sum(map(len, files.values())) > MAX_BYTES:
            raise MappingError(f"The version's code has more than {MAX_BYTES} bytes.")
    return files


def read_file(path: Path) -> bytes:
    """Content of a file; raises MappingError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise MappingError(f"Cannot read {path}: {error.strerror}.") from error
