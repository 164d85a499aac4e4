"""Options that a request may carry: how to explain, and how to read and write files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from mapper.mapping.findings import Findings, shown
from mapper.mapping.schema import ModelSchema

__all__ = [
    "EFFORTS",
    "ENGINES",
    "EXPLAIN_OPTIONS",
    "FILE_FORMATS",
    "FILE_OPTIONS",
    "MAX_COUNTERFACTUALS",
    "ON_BAD_ROW",
    "ParameterCheck",
]

ENGINES = ("lore", "lore_sa")
EFFORTS = ("fast", "thorough")
MAX_COUNTERFACTUALS = 20
FILE_FORMATS = (
    *(f"{layout}{suffix}" for layout in ("csv", "jsonl", "arrows") for suffix in ("", ".gz", ".zst")),
    *("parquet", "arrow"),
)
ON_BAD_ROW = ("fail", "mark")

Complaint = Callable[[Any], "str | None"]


class ParameterCheck:
    """Checks the `parameters` of requests against what the model can do.

    Parameters
    ----------
    schema : ModelSchema
        Whose features the explanation options may name.
    """

    def __init__(self, schema: ModelSchema) -> None:
        self._types = {feature.name: feature.type for feature in schema.features}
        self._explain: dict[str, Complaint] = {
            "engine": _one_of(ENGINES),
            "effort": _one_of(EFFORTS),
            "seed": _whole(-(1 << 63), (1 << 63) - 1),
            "max_counterfactuals": _whole(0, MAX_COUNTERFACTUALS),
            "immutable_features": self._features(ordered=False),
            "increase_only": self._features(ordered=True),
            "decrease_only": self._features(ordered=True),
        }

    def check(
        self, parameters: object, findings: Findings, *, explain: bool, is_file: bool
    ) -> dict[str, Any]:
        """The parameters that are given, as the model server takes them; faults go to `findings`."""
        if parameters is None:
            return {}
        if not isinstance(parameters, Mapping):
            findings.add("bad_request", f"{shown(parameters)} given, an object expected", field="parameters")
            return {}
        taken = (self._explain if explain else {}) | (_FILE_OPTIONS if is_file else {})
        for name, value in parameters.items():
            complaint = taken[name](value) if name in taken else self._unknown(name, taken)
            if complaint is not None:
                findings.add("bad_parameter", complaint, field=f"parameters.{str(name)[:100]}")
        both = [_names(parameters.get(key)) for key in ("increase_only", "decrease_only")]
        for name in sorted(set.intersection(*both)):
            message = f"{shown(name)} is in increase_only and in decrease_only; use immutable_features"
            findings.add("bad_parameter", message, field="parameters.decrease_only")
        if findings.count:
            return {}
        # JSON has one kind of number, MLflow has two: 3.0 is the whole number 3
        return {name: int(value) if isinstance(value, float) else value for name, value in parameters.items()}

    def _unknown(self, name: str, taken: Mapping[str, Complaint]) -> str:
        if name in self._explain:
            return "only explain takes it; send the request to /v1/explain"
        if name in _FILE_OPTIONS:
            return "only a request with `file` takes it"
        near = get_close_matches(name, taken, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(taken) or 'none here'}"
        return f"no such parameter; {hint}"

    def _features(self, *, ordered: bool) -> Complaint:
        def complaint(value: Any) -> str | None:
            if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
                return f"{shown(value)} given, a list of feature names expected"
            for name in value:
                if name not in self._types:
                    near = get_close_matches(name, self._types, 1)
                    return f"no feature {shown(name)}" + (f"; did you mean {shown(near[0])}?" if near else "")
                if ordered and self._types[name] == "string":
                    return f"the categories of {shown(name)} have no order; use immutable_features"
            return None

        return complaint


def _names(value: object) -> set[str]:
    """Names in a list, or none when it is not one."""
    return {name for name in value if isinstance(name, str)} if isinstance(value, list | tuple) else set()


def _one_of(accepted: tuple[str, ...]) -> Complaint:
    def complaint(value: Any) -> str | None:
        if isinstance(value, str) and value in accepted:
            return None
        return f"{shown(value)} given, one of {', '.join(accepted)} expected"

    return complaint


def _whole(low: int, high: int) -> Complaint:
    def complaint(value: Any) -> str | None:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if is_whole and not isinstance(value, bool) and low <= value <= high:
            return None
        bounds = f" from {low} to {high}" if high < 1 << 62 else ""
        return f"{shown(value)} given, a whole number{bounds} expected"

    return complaint


def _column_names(value: Any) -> str | None:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        return f"{shown(value)} given, a list of column names expected"
    return None if len(set(value)) == len(value) else "a column is named twice"


_FILE_OPTIONS: dict[str, Complaint] = {
    "input_format": _one_of(FILE_FORMATS),
    "output_format": _one_of(FILE_FORMATS),
    "passthrough": _column_names,
    "on_bad_row": _one_of(ON_BAD_ROW),
}
EXPLAIN_OPTIONS = (
    "engine", "effort", "seed", "max_counterfactuals", "immutable_features", "increase_only", "decrease_only",
)  # fmt: skip
FILE_OPTIONS = tuple(_FILE_OPTIONS)
