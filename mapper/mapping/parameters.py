"""The parameters of a request, in one table.

The checks, the OpenAPI document, the documentation page, the form, the flags of the command line and
`TabularModel.get_explainer` all derive from `PARAMETERS`. To add a parameter, add a line there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from mapper.errors import Findings, shown, suggestion
from mapper.mapping.schema import ModelSchema

FILE_FORMATS = (
    *(f"{layout}{suffix}" for layout in ("csv", "jsonl", "arrows") for suffix in ("", ".gz", ".zst")),
    *("parquet", "arrow"),
)

Use = Literal["any", "explain", "file"]


@dataclass(frozen=True)
class Kind:
    """Values that parameters take: in words, and as JSON Schema.

    Those of some are names of features: `any` of the model's, or `ordered` ones, which are not categories.
    """

    text: str
    document: dict[str, Any]
    features: Literal["", "any", "ordered"] = ""

    def complaint(self, value: Any, schema: ModelSchema) -> str | None:
        """What is wrong with a value, or None."""
        if "enum" in self.document:
            fits = isinstance(value, str) and value in self.document["enum"]
        elif self.document["type"] == "integer":
            is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            low, high = self.document["minimum"], self.document["maximum"]
            fits = is_whole and not isinstance(value, bool) and low <= value <= high
        elif self.document["type"] == "number":
            low, high = self.document["minimum"], self.document["maximum"]
            fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        else:
            fits = isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)
        if not fits:
            return f"{shown(value)} given, {self.text} expected"
        if "uniqueItems" in self.document and len(set(value)) < len(value):
            return "a column is named twice"
        return self._feature_complaint(value, schema) if self.features else None

    def _feature_complaint(self, names: Iterable[str], schema: ModelSchema) -> str | None:
        types = {feature.name: feature.type for feature in schema.features}
        for name in names:
            if name not in types:
                near = get_close_matches(name, types, 1)
                return f"no feature {shown(name)}" + (f"; did you mean {shown(near[0])}?" if near else "")
            if self.features == "ordered" and types[name] == "text":
                return f"the text {shown(name)} has no order; explanations never change it"
            if self.features == "ordered" and types[name] == "string":
                return f"the categories of {shown(name)} have no order; use immutable_features"
        return None


def _choice(*words: str) -> Kind:
    text = " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}"
    return Kind(text, {"enum": list(words)})


def _whole(text: str, low: int, high: int) -> Kind:
    return Kind(text, {"type": "integer", "minimum": low, "maximum": high})


_NAMES = {"type": "array", "items": {"type": "string"}}
FORMAT = _choice(*FILE_FORMATS)
FEATURES = Kind("a list of feature names", _NAMES, "any")
ORDERED = Kind("a list of feature names", _NAMES, "ordered")
COLUMNS = Kind(
    "a list of column names",
    {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
)
COUNT = _whole("a whole number from 0 to 20", 0, 20)
COVERAGE = Kind("a number from 0.5 to 0.999", {"type": "number", "minimum": 0.5, "maximum": 0.999})
SEED = _whole("a whole number", -(1 << 63), (1 << 63) - 1)


@dataclass(frozen=True)
class RequestParameter:
    """One parameter: `use` says which requests take it (`any`: all), `text` what it is for.

    The model server decides where no value is given; `default` is what it does then.
    """

    name: str
    use: Use
    kind: Kind
    default: Any
    text: str

    def document(self, schema: ModelSchema | None = None) -> dict[str, Any]:
        """JSON Schema of its values for a model, or for any model."""
        document = dict(self.kind.document)
        if schema is not None and self.kind.features:
            is_taken = {
                f.name: self.kind.features == "any" or f.type not in ("string", "text")
                for f in schema.features
            }
            names = [name for name, taken in is_taken.items() if taken]
            document = {"type": "array", **({"items": {"enum": names}} if names else {"maxItems": 0})}
        if self.default is not None:
            document["default"] = self.default
        return {**document, "description": f"{self.text[0].upper()}{self.text[1:]}."}

    def __str__(self) -> str:
        """A line of a help text."""
        default = "" if self.default is None else f"; default: {self.default}"
        return f"{self.name}: {self.text} ({self.kind.text}{default})"


P = RequestParameter
PARAMETERS: tuple[RequestParameter, ...] = (
    P(
        "coverage",
        "any",
        COVERAGE,
        None,
        "add the set of classes that holds the true one with this probability",
    ),
    P("engine", "explain", _choice("lore", "lore_sa"), "lore", "the engine that explains"),
    P("effort", "explain", _choice("fast", "thorough"), "fast", "how much work goes into an explanation"),
    P("seed", "explain", SEED, 0, "the same seed gives the same explanation"),
    P("max_counterfactuals", "explain", COUNT, 3, "how many counterfactuals to look for"),
    P("immutable_features", "explain", FEATURES, None, "features that a counterfactual may not change"),
    P("mutable_features", "explain", FEATURES, None, "sensitive features that a counterfactual may change"),
    P("increase_only", "explain", ORDERED, None, "features that a counterfactual may only increase"),
    P("decrease_only", "explain", ORDERED, None, "features that a counterfactual may only decrease"),
    P("input_format", "file", FORMAT, None, "format of the input; detected if not given"),
    P("output_format", "file", FORMAT, None, "format of the output; that of the input if not given"),
    P("passthrough", "file", COLUMNS, None, "columns to copy from the input to the output"),
    P("on_bad_row", "file", _choice("fail", "mark"), "fail", "stop at a row that does not fit, or mark it"),
)


def parameters_for(*, explain: bool, is_file: bool) -> Iterator[RequestParameter]:
    """The parameters that a kind of request takes."""
    taken = {"any": True, "explain": explain, "file": is_file}
    return (p for p in PARAMETERS if taken[p.use])


def parameters_text(use: Use) -> str:
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
    return {name: _whole_as_int(value) for name, value in parameters.items()}


def _whole_as_int(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(name: str, taken: Mapping[str, Kind]) -> str:
    use = next((parameter.use for parameter in PARAMETERS if parameter.name == name), None)
    if use == "explain":
        return "only for explanations; send the request to /v1/explain"
    if use == "file":
        return "only for requests with `file`"
    return f"no such parameter; {suggestion(str(name), taken)}"


def _names(value: object) -> set[str]:
    """Names in a list, or none when it is not one."""
    return {name for name in value if isinstance(name, str)} if isinstance(value, list | tuple) else set()
