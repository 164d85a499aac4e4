"""Tensors of the Open Inference Protocol V2: a column of values each, or one that holds all columns."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import InputError, listed
from proto_model.schema import FeatureType
from proto_model.serving.http.errors import too_many_rows

DATATYPES: dict[FeatureType, str] = {
    "double": "FP64",
    "long": "INT64",
    "boolean": "BOOL",
    "string": "BYTES",
    "date": "BYTES",
    "datetime": "BYTES",
    "text": "BYTES",
}

_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_REAL = ("FP16", "FP32", "FP64")
# What JSON may hold for each datatype; null besides, which the column takes or refuses.
_HOLDS: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str, bytes),
    **dict.fromkeys(_WHOLE, (int,)),
    **dict.fromkeys(_REAL, (int, float)),
}
# Datatypes that a column of a type takes: any, since the rule book judges each value; its own first.
TAKES: dict[FeatureType, tuple[str, ...]] = {
    kind: (own, *(name for name in _HOLDS if name != own)) for kind, own in DATATYPES.items()
}


def column_datatype(kind: FeatureType | Literal["json"]) -> str:
    """Datatype of the column of an answer; JSON is text, because V2 knows no objects."""
    return "BYTES" if kind == "json" else DATATYPES[kind]


def metadata(name: str, datatype: str) -> dict[str, Any]:
    """What a server tells of a tensor with a row per value."""
    return {"name": name, "datatype": datatype, "shape": [-1, 1]}


class Tensor(NamedTuple):
    """An input tensor as it came."""

    name: Any
    shape: Any
    datatype: Any
    data: Any


_Part = tuple[slice, frozenset[type]]


class UsualTensors:
    """Tensors that are as those of the last request: what is the same for all needs no look at each.

    `inputs` holds the datatypes that each input takes.
    """

    def __init__(self, inputs: Mapping[str, Sequence[str]]) -> None:
        self._inputs = inputs
        self._last: tuple[Any, list[_Part]] = (None, [])

    def columns(self, tensors: Sequence[tuple[Any, Any, Any, Any]], max_rows: int) -> dict[str, Any] | None:
        """Values by name; None for tensors that need a closer look, right or wrong."""
        if not tensors:
            return None
        names, shapes, datatypes, columns = zip(*tensors, strict=True)
        if set(map(type, columns)) != {list} or set(map(type, shapes)) != {list}:
            return None
        (n_rows, *others), shape = set(map(len, columns)), shapes[0]
        if others or n_rows > max_rows or shape not in ([n_rows], [n_rows, 1]):
            return None
        if shapes.count(shape) != len(shapes) or set(map(type, chain.from_iterable(shapes))) != {int}:
            return None
        known, holds = self._last
        if known != (names, datatypes):
            found = self._holds(names, datatypes)
            if found is None:
                return None
            holds = found
            self._last = ((names, datatypes), holds)
        if not all(types.issuperset(map(type, chain.from_iterable(columns[part]))) for part, types in holds):
            return None
        return dict(zip(names, columns, strict=True))

    def _holds(self, names: tuple[Any, ...], datatypes: tuple[Any, ...]) -> list[_Part] | None:
        """Neighbours of the same datatype, and the types of their values; None if a tensor is not taken."""
        if set(map(type, (*names, *datatypes))) != {str} or len(set(names)) != len(names):
            return None
        if any(kind not in self._inputs.get(name, ()) for name, kind in zip(names, datatypes, strict=True)):
            return None
        parts: list[_Part] = []
        begin = 0
        for kind, same in groupby(datatypes):
            end = begin + len(list(same))
            parts.append((slice(begin, end), frozenset(_HOLDS[kind]) - {bytes}))
            begin = end
        return parts


def column_values(tensor: Tensor, takes: Sequence[str], max_rows: int) -> Any:
    """Values of a tensor that has a row per value, numbers as an array; raises InputError or LengthError."""
    name, shape, datatype, _ = tensor
    if not isinstance(datatype, str) or datatype not in takes:
        given = "no datatype" if datatype is None else f"datatype {datatype!r:.40}"
        raise InputError(f"Input {name!r}: {given} given, {takes[0]} expected.")
    if not _is_shape(shape) or shape[1:] not in ([], [1]):
        raise InputError(f"Input {name!r}: shape {shape!r:.40} given, [n_rows, 1] or [n_rows] expected.")
    if _is_numbers(tensor.data):
        return _counted(tensor, 1, max_rows)
    data = _listed(tensor, shape[0])
    if data and isinstance(data[0], list):
        data = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in data]
    return _checked(tensor, data, 1, max_rows)


def table_values(tensor: Tensor, columns: Sequence[str], max_rows: int) -> tuple[Any, int]:
    """Values of a tensor of all columns, and the number of rows; raises as above.

    Numbers without gaps are an array, all others a list, row by row.
    """
    name, shape, datatype, _ = tensor
    width = len(columns)
    if not _is_shape(shape) or (shape[1:] != [width] and not (shape[1:] == [] and width == 1)):
        raise InputError(
            f"Input {name!r:.80} is no column of the model, and its shape {shape!r:.40} is not that of all "
            f"columns in one, [n_rows, {width}]. Send one tensor for each of {listed(columns)}, or one that "
            "holds them all in this order."
        )
    if not isinstance(datatype, str) or datatype not in _HOLDS:
        raise InputError(
            f"Input {name!r}: datatype {datatype!r:.40} given, one of {', '.join(_HOLDS)} expected."
        )
    if _is_numbers(tensor.data):
        return _counted(tensor, width, max_rows).reshape(shape[0], width), shape[0]
    data = _listed(tensor, shape[0] * width)
    if data and isinstance(data[0], list):
        for number, row in enumerate(data):
            if not isinstance(row, list) or len(row) != width:
                raise InputError(f"Input {name!r}: row {number} is not a list of {width} values.")
        data = list(chain.from_iterable(data))
    if datatype in _REAL and len(data) == shape[0] * width and shape[0] <= max_rows:
        numbers = _packed(data)
        if numbers is not None:
            return numbers.reshape(shape[0], width), shape[0]
    return _checked(tensor, data, width, max_rows), shape[0]


def _packed(data: list[Any]) -> NDArray[np.float64] | None:
    """Numbers as an array; None if one is missing, too large or not a number."""
    try:
        numbers = np.frombuffer(struct.pack(f"{len(data)}d", *data))
    except (struct.error, OverflowError):
        return None
    # To look for true and false, which pack as 1 and 0, takes longer than all the rest.
    if ((numbers == 0) | (numbers == 1)).any() and bool in map(type, data):
        return None
    return numbers


def _is_numbers(data: Any) -> bool:
    return isinstance(data, np.ndarray) and data.dtype.kind in "iuf"


def _counted(tensor: Tensor, width: int, max_rows: int) -> NDArray[Any]:
    """Numbers of a tensor, as many as the shape says; real ones in the width of the model's columns."""
    n_rows, data = tensor.shape[0], tensor.data
    if data.size != n_rows * width:
        raise InputError(f"Input {tensor.name!r}: {data.size} values given for shape {tensor.shape}.")
    if n_rows > max_rows:
        raise too_many_rows(n_rows, max_rows)
    numbers: NDArray[Any] = data.astype(np.float64) if data.dtype.kind == "f" else data
    return numbers


def _is_shape(shape: Any) -> bool:
    """Whether it is that of a vector or a matrix."""
    sides = isinstance(shape, list) and len(shape) in (1, 2)
    return sides and all(type(side) is int and side >= 0 for side in shape)


def _listed(tensor: Tensor, n_values: int) -> list[Any]:
    data = tensor.data.tolist() if isinstance(tensor.data, np.ndarray) else tensor.data
    if not isinstance(data, list):
        raise InputError(f"Input {tensor.name!r}: data must be a list of {n_values} values.")
    return data


def _checked(tensor: Tensor, data: list[Any], width: int, max_rows: int) -> list[Any]:
    """Values of `width` per row, as many as the shape says, of the tensor's datatype."""
    name, (n_rows, *_), datatype, _ = tensor
    if len(data) != n_rows * width:
        raise InputError(f"Input {name!r}: {len(data)} values given for shape {tensor.shape}.")
    if n_rows > max_rows:
        raise too_many_rows(n_rows, max_rows)
    holds = _HOLDS[datatype]
    types = set(map(type, data))
    if not types <= {*holds, type(None)}:
        place = next(i for i, value in enumerate(data) if value is not None and type(value) not in holds)
        where = f"row {place // width}" + (f", column {place % width}" if width > 1 else "")
        raise InputError(f"Input {name!r}: the value of {where} is not of datatype {datatype}.")
    return [_text(name, value) for value in data] if bytes in types else data


def _text(name: str, value: str | bytes | None) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise InputError(f"Input {name!r}: text that is not UTF-8 given.") from error
