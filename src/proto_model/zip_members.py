"""The files of a zip archive that nobody vouches for: plain ones, packed in the ways that everybody reads."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib

__all__ = ["UNREADABLE", "UnsafeZipError", "plain_members"]

UNREADABLE = (
    OSError, EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What Python raises when a damaged archive is read."""


class UnsafeZipError(Exception):
    """An archive holds something that is not to be unpacked; the message is a sentence."""


def plain_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files of an archive by name; an UnsafeZipError says which is no plain one, or there twice."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if name.endswith("/") and not info.file_size:  # a folder, as other programs note it
            continue
        if name in found:
            raise UnsafeZipError(f"{name!r} is there twice.")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UnsafeZipError(f"{name!r} is no plain file.")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeZipError(f"{name!r} is encrypted, or packed in a way that few programs read.")
        found[name] = info
    return found
