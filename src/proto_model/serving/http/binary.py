"""Tensors as raw bytes behind the JSON of a V2 request or answer: Triton's and KServe's `binary_tensor_data`.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

The header Inference-Header-Content-Length says where the JSON ends. Each tensor with `binary_data_size` takes
so many of the bytes that follow, in the order of the JSON. Numbers are little-endian; each of BYTES has its
length before it, in four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import orjson

from proto_model.errors import InputError
from proto_model.serving.http.errors import too_many_rows

LENGTH_HEADER = b"inference-header-content-length"
SIZE, WANTED, ALL_WANTED = "binary_data_size", "binary_data", "binary_data_output"
OCTETS = "application/octet-stream"

NUMPY = {
    "BOOL": "?",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
FEW = 256
_PREFIX = struct.Struct("<I")


def split(body: bytes, header: bytes) -> tuple[bytes, memoryview]:
    """JSON and raw part of a body, by the value of `LENGTH_HEADER`; without one, all of it is JSON."""
    if not header:
        return body, memoryview(b"")
    n_bytes = int(header) if header.isdigit() and len(header) < 20 else -1
    if not 0 < n_bytes <= len(body):
        raise InputError(
            f"Inference-Header-Content-Length is {header[:20].decode('latin-1')!r}; expected is the number "
            f"of bytes of JSON that the body of {len(body)} bytes begins with."
        )
    return body[:n_bytes], memoryview(body)[n_bytes:]


def filled(inputs: Sequence[Mapping[str, Any]], raw: memoryview, max_rows: int) -> list[dict[str, Any]]:
    """Input tensors with their data, from the raw part where they say so.

    Raises InputError or LengthError.
    """
    place = 0
    tensors = []
    for tensor in inputs:
        parameters = tensor.get("parameters")
        size = parameters.get(SIZE) if isinstance(parameters, dict) else None
        if size is None:
            tensors.append(dict(tensor))
            continue
        name = f"{tensor.get('name')!r:.80}"
        if type(size) is not int or size < 0:
            raise InputError(f"Input {name}: {SIZE} is {size!r:.40}, a number of bytes expected.")
        if "data" in tensor:
            raise InputError(f"Input {name}: data and {SIZE} given. Send one of them.")
        if size > len(raw) - place:
            raise InputError(
                f"Input {name}: {SIZE} is {size}, and {len(raw) - place} bytes are left behind the JSON."
            )
        tensors.append({**tensor, "data": _values(name, tensor, raw[place : place + size], max_rows)})
        place += size
    if place != len(raw):
        raise InputError(f"{len(raw)} bytes follow the JSON, the {SIZE} of all inputs add up to {place}.")
    return tensors


def _values(name: str, tensor: Mapping[str, Any], raw: memoryview, max_rows: int) -> Any:
    """Values of a tensor: many numbers as an array, all others as a list."""
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n >= 0 for n in shape):
        raise InputError(f"Input {name}: shape {shape!r:.40} given, [n_rows, 1] or [n_rows] expected.")
    if shape[0] > max_rows:
        raise too_many_rows(shape[0], max_rows)
    n_values = prod(shape)
    if datatype == "BYTES":
        return _texts(name, raw, n_values)
    kind = NUMPY.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise InputError(
            f"Input {name}: datatype {datatype!r:.40} given, one of {', '.join(NUMPY)}, BYTES expected."
        )
    n_bytes = n_values * np.dtype(kind).itemsize
    if len(raw) != n_bytes:
        raise InputError(
            f"Input {name}: {SIZE} is {len(raw)}; shape {shape!r:.40} of {datatype} takes {n_bytes} bytes."
        )
    if datatype == "BOOL":
        if raw.tobytes().strip(b"\x00\x01"):
            raise InputError(f"Input {name}: a byte of BOOL is neither 0 nor 1.")
        return np.frombuffer(raw, kind).tolist()
    numbers = np.frombuffer(raw, kind)
    return numbers.tolist() if n_values <= FEW else numbers  # few are read faster as those of JSON are


def _texts(name: str, raw: memoryview, n_values: int) -> list[bytes]:
    """Values of BYTES."""
    texts: list[bytes] = []
    place, end = 0, len(raw)
    while place < end and len(texts) < n_values:
        begin = place + _PREFIX.size
        place = begin + _PREFIX.unpack_from(raw, place)[0] if begin <= end else end + 1
        if place > end:
            raise InputError(f"Input {name}: value {len(texts)} of BYTES is longer than what is left of it.")
        texts.append(raw[begin:place].tobytes())
    if place != end or len(texts) != n_values:
        raise InputError(f"Input {name}: {SIZE} is {end}, which does not hold {n_values} values of BYTES.")
    return texts


def packed(datatype: str, data: Sequence[Any]) -> bytes:
    """Values of an output as raw bytes."""
    if datatype != "BYTES":
        return np.asarray(data, NUMPY[datatype]).tobytes()
    texts = [value.encode() for value in data]
    return b"".join(part for text in texts for part in (_PREFIX.pack(len(text)), text))


def written(
    content: dict[str, Any], outputs: Sequence[dict[str, Any]], wanted: Sequence[bool]
) -> list[bytes]:
    """JSON of an answer, and the raw parts of the outputs that are wanted so, in their order."""
    parts = []
    tensors = []
    for output, is_binary in zip(outputs, wanted, strict=True):
        tensor = dict(output)
        if is_binary:
            parts.append(packed(tensor["datatype"], tensor.pop("data")))
            tensor["parameters"] = {SIZE: len(parts[-1])}
        tensors.append(tensor)
    return [orjson.dumps({**content, "outputs": tensors}), *parts]
