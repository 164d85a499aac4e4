"""What the TANGO platform hands over, as plain JSON: requests, sessions and request types as objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from typing import Any, TypeGuard
from uuid import UUID

import orjson

from mapper.errors import Finding, InvalidRequestError, NotJsonError

PARTS = ("data", "file", "parameters", "session")
KINDS = {"predict": "predict", "prediction": "predict", "explain": "explain", "explanation": "explain"}
MAX_DEPTH = 50

Bytes = bytes | bytearray | memoryview
_PLAIN = (str, int, float, bool, type(None))
_WHOLE = (date, time, UUID, type)  # JSON writes the first three as text


def request_kind(request_type: object) -> str:
    """`predict` or `explain`, given as text or as a member of any enum; raises ValueError for another one."""
    texts = [request_type]
    if isinstance(request_type, Enum):
        texts = [request_type.name, request_type.value]
    for text in texts:
        if isinstance(text, str) and text.lower() in KINDS:
            return KINDS[text.lower()]
    raise ValueError(f"request_type {request_type!r} given, 'predict' or 'explain' expected")


def request_content(request: object) -> object:
    """A request as JSON has it: bytes are read, an object gives its `data`, `file`, `parameters`, `session`.

    Other attributes of an object are the platform's own. If it has none of the four, but one attribute holds
    a request, that is taken. Raises NotJsonError for bytes that are not JSON, and InvalidRequestError for an
    object without a request.
    """
    if isinstance(request, Bytes):
        try:
            return orjson.loads(request)
        except orjson.JSONDecodeError as error:
            raise NotJsonError(f"The request is not JSON: {error}.") from error
    if isinstance(request, _PLAIN) or _is_list(request):
        return request
    if isinstance(request, Mapping):
        return dict(request)
    if parts := _parts(request):
        return parts
    fields = _fields(request)
    inner = [found for found in map(_inner_request, fields.values()) if found]
    if len(inner) == 1:
        return inner[0]
    has = f"it has {', '.join(fields)}" if fields else "it has no fields"
    fault = Finding("bad_request", f"a {type(request).__name__} without `data` or `file` given; {has}")
    raise InvalidRequestError("The request has 1 fault; nothing was predicted.", [fault])


def plain(value: object, depth: int = 0) -> Any:
    """A value as JSON has it, with objects as their public fields; what JSON cannot say stays as it is.

    Raises ValueError if it is nested too deeply, or holds itself.
    """
    if isinstance(value, _PLAIN) and not isinstance(value, Enum):
        return value
    if depth == MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, Mapping):
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if _is_list(value):
        return [plain(item, depth + 1) for item in value]
    fields = _fields(value)
    return {name: plain(item, depth + 1) for name, item in fields.items()} if fields else value


def json_copy(value: object) -> Any:
    """A value as plain JSON, such as a session; raises TypeError or ValueError if JSON cannot say it."""
    return orjson.loads(orjson.dumps(plain(value), option=orjson.OPT_NON_STR_KEYS))


def _parts(request: object) -> dict[str, Any]:
    """Those parts of a request that an object has; none if neither `data` nor `file` is among them."""
    found = {part: getattr(request, part, None) for part in PARTS}
    if found["data"] is None and found["file"] is None:
        return {}
    try:
        return {part: plain(value) for part, value in found.items() if value is not None}
    except ValueError as error:
        fault = Finding("bad_request", f"the {type(request).__name__} cannot be read: {error}")
        raise InvalidRequestError("The request has 1 fault; nothing was predicted.", [fault]) from error


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether it is an array of JSON; a named tuple is an object."""
    return isinstance(value, list | tuple) and not hasattr(value, "_fields")


def _fields(value: object) -> dict[str, Any]:
    """Public fields of an object, in order; none of what is not meant to be one, such as a date."""
    names: Any = ()
    if isinstance(value, tuple):
        names = getattr(value, "_fields", ())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
    elif not isinstance(value, _WHOLE):
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        names = [*slots, *getattr(value, "__dict__", ())]
    return {name: getattr(value, name) for name in names if name[0] != "_" and hasattr(value, name)}


def _inner_request(value: object) -> dict[str, Any] | None:
    """The request that a field of an object holds, as JSON, as text of JSON, or as an object again."""
    if isinstance(value, str | bytes | bytearray | memoryview):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    if isinstance(value, Mapping):
        return dict(value) if "data" in value or "file" in value else None
    return _parts(value) or None
