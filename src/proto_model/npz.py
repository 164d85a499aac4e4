"""Arrays of an `.npz` file that nobody vouches for: no pickle, no bomb, no array twice."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError

# Whatever numpy and zipfile raise for a file that is not as it should be.
_UNREADABLE = (
    OSError, EOFError, LookupError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_READ_BYTES = 1 << 20
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(
    path: Path, kind: str, names: Sequence[str], optional: Sequence[str] = (), most_unpacked: int = 0
) -> dict[str, NDArray[Any]]:
    """Arrays of a file by name; `optional` ones may be missing, others that it holds are left alone.

    An array that is compressed may have `most_unpacked` bytes. Raises ArtifactError if the file cannot be
    read as the kind of thing that it should hold.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            by_name = {member.filename.removesuffix(".npy"): member for member in members}
            if len(by_name) < len(members):
                raise ValueError("two of its arrays have the same name")
            missing = [name for name in names if name not in by_name]
            if missing:
                raise ValueError(f"it has no {' and no '.join(missing)}")
            wanted = [name for name in (*names, *optional) if name in by_name]
            return {name: _array(archive, by_name[name], size, most_unpacked) for name in wanted}
    except _UNREADABLE as error:
        raise ArtifactError(
            f"{path} cannot be read as {kind}: {error}. Download the whole model, or log it again."
        ) from error


def whole_number(array: NDArray[Any], low: int, high: int) -> int | None:
    """The number that an array holds, None if it is none from `low` to `high`."""
    if array.ndim or array.dtype.kind not in "iu":
        return None
    number = int(array)
    return number if low <= number <= high else None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int, most_unpacked: int) -> NDArray[Any]:
    """An array, for which no more memory is taken than its file has, or may have, bytes for it."""
    is_stored = member.compress_type == zipfile.ZIP_STORED
    if not is_stored and member.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"{member.filename} is packed in a way that nothing of this package writes")
    if member.file_size > (size if is_stored else most_unpacked):
        raise ValueError(f"{member.filename} would unpack to {member.file_size:,} bytes")
    with archive.open(member) as file:
        read_header = _HEADERS.get(np.lib.format.read_magic(file))
        if read_header is None:
            raise ValueError(f"{member.filename} has a header of an unknown version")
        shape, is_fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds objects, which only a pickle can")
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != member.file_size - file.tell():
            raise ValueError(f"{member.filename} has a shape of {shape}, which its bytes do not fill")
        content, filled = np.empty(n_bytes, dtype=np.uint8), 0
        view = content.data
        while filled < n_bytes:  # zipfile compares the checksum at the last of them
            chunk = file.read(_READ_BYTES)
            if not chunk:
                raise EOFError(f"{member.filename} ends early")
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    return content.view(dtype).reshape(shape, order="F" if is_fortran else "C")
