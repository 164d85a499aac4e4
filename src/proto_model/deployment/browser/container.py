"""`model.bin`: everything of a version that answers, in one file for machines without NumPy.

| bytes | hold                                                                        |
|-------|-----------------------------------------------------------------------------|
| 8     | `PROTOMT1`                                                                  |
| 32    | SHA-256 of all that follows                                                 |
| 4     | length of the head, little-endian                                           |
| ...   | the head: JSON with schema, decision and, per array, type, shape and offset |
| ...   | the arrays, little-endian, each at a multiple of eight bytes                |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"PROTOMT1"
_TYPES = {"f8": np.float64, "f4": np.float32, "i4": np.int32, "u1": np.uint8}
_ALIGNED = 8
_BEGIN = len(MAGIC) + hashlib.sha256().digest_size + 4  # of the head


def packed(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Bytes of the file; the same head and arrays give the same bytes."""
    listed, parts, at = {}, [], 0
    for name, array in arrays.items():
        kind = next(kind for kind, type_ in _TYPES.items() if array.dtype == type_)
        content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        listed[name] = {"type": kind, "shape": list(array.shape), "at": at}
        content += bytes(-len(content) % _ALIGNED)
        parts.append(content)
        at += len(content)
    text = json.dumps({**head, "arrays": listed}, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(_BEGIN + len(text)) % _ALIGNED)
    body = b"".join([len(text).to_bytes(4, "little"), text, *parts])
    return MAGIC + hashlib.sha256(body).digest() + body
