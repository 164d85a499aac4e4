"""Parameters of a request, taken and refused as MLflow does it for the signature of the served models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proto_model.errors import InputError

__all__ = ["FILE_PARAMS", "LIST_PARAMS", "ROW_PARAMS", "checked_params"]

Param = tuple[str, type, bool]

# Name, type, and whether it is a list: `proto_model.registry.signature` again, which imports mlflow.
ROW_PARAMS: tuple[Param, ...] = (
    ("explain", bool, False),
    ("engine", str, False),
    ("effort", str, False),
    ("seed", int, False),
    ("max_counterfactuals", int, False),
    ("immutable_features", str, True),
    ("increase_only", str, True),
    ("decrease_only", str, True),
)
# The same of `proto_model.serving.mlflow.file_model`.
FILE_PARAMS: tuple[Param, ...] = (
    *ROW_PARAMS,
    ("input_format", str, False),
    ("output_format", str, False),
    ("passthrough", str, True),
    ("on_bad_row", str, False),
)
LIST_PARAMS = frozenset(name for name, _, is_list in FILE_PARAMS if is_list)
_WORDS = {bool: "true or false", str: "a string", int: "a whole number"}


def checked_params(params: Any, accepted: Iterable[Param] = ROW_PARAMS) -> dict[str, Any]:
    """The known ones of a request's parameters; others are left out.

    Raises
    ------
    InputError
        If it is not an object, or values have wrong types; names all of them.

    Examples
    --------
    >>> checked_params({"explain": True, "shoe_size": 43})
    {'explain': True}
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise InputError(f"params must be an object, such as {{'explain': true}}; {params!r:.40} given.")
    known = {}
    faults = []
    for name, kind, is_list in accepted:
        if name not in params:
            continue
        value = params[name]
        if _fits(value, kind, is_list):
            known[name] = value
        else:
            expected = f"a list, each of it {_WORDS[kind]}," if is_list else _WORDS[kind]
            faults.append(f"{name}: {value!r:.40} given, {expected} expected")
    if faults:
        raise InputError("Parameters: " + "; ".join(faults) + ".")
    return known


def _fits(value: Any, kind: type, is_list: bool) -> bool:
    if is_list:
        return isinstance(value, list) and all(_fits(item, kind, False) for item in value)
    return value is None or type(value) is kind
