"""Zip files whose bytes depend on what is in them and on nothing else."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_UNIX = 3
_PROGRAMS = (".sh",)


def write_zip(path: Path, files: Mapping[str, bytes | Path], *, compress: bool = True) -> None:
    """Write a zip file of contents, or of files, by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, _FIRST_DAY)
            info.create_system = _UNIX
            info.external_attr = (stat.S_IFREG | (0o755 if name.endswith(_PROGRAMS) else 0o644)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            if isinstance(content, bytes):
                archive.writestr(info, content, info.compress_type)
                continue
            info.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target)
