"""Tensors of the Open Inference Protocol V2: a column of values each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Literal, NamedTuple

import numpy as np

from proto_model.errors import InputError
from proto_model.schema import FeatureType
from proto_model.serving.http.errors import too_many_rows

DATATYPES: dict[FeatureType, str] = {"double": "FP64", "long": "INT64", "boolean": "BOOL", "string": "BYTES"}

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


def column_values(tensor: Tensor, takes: Sequence[str], max_rows: int) -> list[Any]:
    """Values of a tensor that has a row per value; raises InputError or LengthError."""
    name, shape, datatype, data = tensor
    if not isinstance(datatype, str) or datatype not in takes:
        raise InputError(f"Input {name!r}: datatype {datatype!r:.40} given, {takes[0]} expected.")
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or any(type(side) is not int or side < 0 for side in shape)
        or shape[1:] not in ([], [1])
    ):
        raise InputError(f"Input {name!r}: shape {shape!r:.40} given, [n_rows, 1] or [n_rows] expected.")
    if isinstance(data, np.ndarray):
        data = data.tolist()
    if not isinstance(data, list):
        raise InputError(f"Input {name!r}: data must be a list of {shape[0]} values.")
    if data and isinstance(data[0], list):
        data = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in data]
    if len(data) != shape[0]:
        raise InputError(f"Input {name!r}: {len(data)} values given for shape {shape}.")
    if len(data) > max_rows:
        raise too_many_rows(len(data), max_rows)
    holds = _HOLDS[datatype]
    if not set(map(type, data)) <= {*holds, type(None)}:
        row = next(i for i, value in enumerate(data) if value is not None and type(value) not in holds)
        raise InputError(f"Input {name!r}: the value of row {row} is not of datatype {datatype}.")
    if datatype == "BYTES" and bytes in map(type, data):
        data = [_text(name, value) for value in data]
    return data


def _text(name: str, value: str | bytes | None) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise InputError(f"Input {name!r}: text that is not UTF-8 given.") from error
