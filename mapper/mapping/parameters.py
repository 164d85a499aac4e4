"""The parameters of a request, in one table.

The checks, the OpenAPI document, the documentation page, the form, the flags of the command line and
`TabularModel.get_explainer` all derive from `PARAMETERS`. To add a parameter, add a line there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, Protocol

from mapper.errors import Findings, shown
from mapper.mapping.schema import ModelSchema

FILE_FORMATS = (
    *(f"{layout}{suffix}" for layout in ("csv", "jsonl", "arrows") for suffix in ("", ".gz", ".zst")),
    *("parquet", "arrow"),
)


class Kind(Protocol):
    """What values a parameter has."""

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        """What is wrong with a value, or None."""

    def document(self, schema: ModelSchema | None) -> dict[str, Any]:
        """Its JSON Schema; without a model schema, that for any model."""

    def __str__(self) -> str:
        """What is accepted, for people."""


@dataclass(frozen=True)
class _Choice:
    """One of several words."""

    words: tuple[str, ...]

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        if isinstance(value, str) and value in self.words:
            return None
        return f"{shown(value)} given, one of {', '.join(self.words)} expected"

    def document(self, schema: ModelSchema | None) -> dict[str, Any]:
        return {"enum": list(self.words)}

    def __str__(self) -> str:
        return " or ".join(self.words) if len(self.words) == 2 else f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class _Whole:
    """A whole number within bounds."""

    low: int
    high: int

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if is_whole and not isinstance(value, bool) and self.low <= value <= self.high:
            return None
        return f"{shown(value)} given, {self} expected"

    def document(self, schema: ModelSchema | None) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def __str__(self) -> str:
        return "a whole number" + (f" from {self.low} to {self.high}" if self.high < 1 << 62 else "")


@dataclass(frozen=True)
class _FeatureNames:
    """A list of features of the model; with `ordered`, of those whose values have an order."""

    ordered: bool = False

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
            return f"{shown(value)} given, {self} expected"
        types = {feature.name: feature.type for feature in schema.features}
        for name in value:
            if name not in types:
                near = get_close_matches(name, types, 1)
                return f"no feature {shown(name)}" + (f"; did you mean {shown(near[0])}?" if near else "")
            if self.ordered and types[name] == "string":
                return f"the categories of {shown(name)} have no order; use immutable_features"
        return None

    def document(self, schema: ModelSchema | None) -> dict[str, Any]:
        if schema is None:
            return {"type": "array", "items": {"type": "string"}}
        names = [f.name for f in schema.features if not self.ordered or f.type != "string"]
        return {"type": "array", "items": {"enum": names}} if names else {"type": "array", "maxItems": 0}

    def __str__(self) -> str:
        return "a list of feature names"


@dataclass(frozen=True)
class _ColumnNames:
    """A list of different columns of a file."""

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
            return f"{shown(value)} given, {self} expected"
        return None if len(set(value)) == len(value) else "a column is named twice"

    def document(self, schema: ModelSchema | None) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}

    def __str__(self) -> str:
        return "a list of column names"


@dataclass(frozen=True)
class RequestParameter:
    """One parameter: `use` says which requests take it, `text` what it is for.

    The model server decides where no value is given; `default` is what it does then.
    """

    name: str
    use: Literal["explain", "file"]
    kind: Kind
    default: Any
    text: str

    def document(self, schema: ModelSchema | None = None) -> dict[str, Any]:
        """JSON Schema of its values."""
        default = {} if self.default is None else {"default": self.default}
        return {
            **self.kind.document(schema),
            **default,
            "description": f"{self.text[0].upper()}{self.text[1:]}.",
        }

    def __str__(self) -> str:
        """A line of a help text."""
        default = "" if self.default is None else f"; default: {self.default}"
        return f"{self.name}: {self.text} ({self.kind}{default})"


P = RequestParameter
PARAMETERS: tuple[RequestParameter, ...] = (
    P("engine", "explain", _Choice(("lore", "lore_sa")), "lore", "the engine that explains"),
    P("effort", "explain", _Choice(("fast", "thorough")), "fast", "how much work goes into an explanation"),
    P("seed", "explain", _Whole(-(1 << 63), (1 << 63) - 1), 0, "the same seed gives the same explanation"),
    P("max_counterfactuals", "explain", _Whole(0, 20), 3, "how many counterfactuals to look for"),
    P(
        "immutable_features",
        "explain",
        _FeatureNames(),
        None,
        "features that a counterfactual may not change",
    ),
    P(
        "increase_only",
        "explain",
        _FeatureNames(True),
        None,
        "features that a counterfactual may only increase",
    ),
    P(
        "decrease_only",
        "explain",
        _FeatureNames(True),
        None,
        "features that a counterfactual may only decrease",
    ),
    P("input_format", "file", _Choice(FILE_FORMATS), None, "format of the input; detected if not given"),
    P(
        "output_format",
        "file",
        _Choice(FILE_FORMATS),
        None,
        "format of the output; that of the input if not given",
    ),
    P("passthrough", "file", _ColumnNames(), None, "columns to copy from the input to the output"),
    P("on_bad_row", "file", _Choice(("fail", "mark")), "fail", "stop at a row that does not fit, or mark it"),
)


def parameters_for(*, explain: bool, is_file: bool) -> Iterator[RequestParameter]:
    """The parameters that a kind of request takes."""
    return (p for p in PARAMETERS if (explain if p.use == "explain" else is_file))


def parameters_text(use: Literal["explain", "file"]) -> str:
    """The parameters of a use, a line each."""
    return "\n".join(str(parameter) for parameter in PARAMETERS if parameter.use == use)


def check_parameters(
    parameters: object, schema: ModelSchema, findings: Findings, *, explain: bool, is_file: bool
) -> dict[str, Any]:
    """The given parameters as the model server takes them; faults go to `findings`."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        findings.add("bad_request", f"{shown(parameters)} given, an object expected", field="parameters")
        return {}
    taken = {p.name: p.kind for p in parameters_for(explain=explain, is_file=is_file)}
    for name, value in parameters.items():
        complaint = taken[name].complaint(value, schema) if name in taken else _unknown(name, taken)
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


def _unknown(name: str, taken: Mapping[str, Kind]) -> str:
    use = next((parameter.use for parameter in PARAMETERS if parameter.name == name), None)
    if use == "explain":
        return "only for explanations; send the request to /v1/explain"
    if use == "file":
        return "only for requests with `file`"
    near = get_close_matches(str(name), taken, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(taken) or 'none here'}"
    return f"no such parameter; {hint}"


def _names(value: object) -> set[str]:
    """Names in a list, or none when it is not one."""
    return {name for name in value if isinstance(name, str)} if isinstance(value, list | tuple) else set()
