"""What a client may ask of a served model: one table, from which all else about parameters is derived.

To add a parameter, add a field to `Parameters`. The signatures in MLflow, the checks of a request, the flags
of the command line and the tables in `docs/` follow (`scripts/parameter_tables.py` writes the tables).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

from proto_model.errors import InputError, listed
from proto_model.schema import ModelSchema

__all__ = ["EXPLAINER", "FILE", "ROWS", "Parameter", "Parameters", "Signature", "parameters_of"]

Signature = Literal["rows", "explainer", "file"]
"""What a served model takes and gives: rows and predictions, rows and explanations, or files."""

ROWS: Signature = "rows"
EXPLAINER: Signature = "explainer"
FILE: Signature = "file"

_EXPLAIN = (ROWS, EXPLAINER, FILE)
_MOST_FAULTS = 20
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


@dataclass(frozen=True)
class Parameter:
    """One row of the table."""

    name: str  # the flag is the same with dashes
    default: Any  # of the parameter's type; a tuple stands for a list of strings
    help: str
    of: tuple[Signature, ...]
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None  # least and most; 0 as a default stands outside them
    features: Literal["any", "ordered"] | None = None  # it lists features; `ordered`: not categories
    unique: bool = False  # a list names nothing twice

    @property
    def is_list(self) -> bool:
        """Whether it is a list of strings."""
        return isinstance(self.default, tuple)

    @property
    def is_off_by_default(self) -> bool:
        """Whether the default is no value to choose, but that there is none."""
        return self.default == "" or (self.kind is float and not self.default)

    @property
    def kind(self) -> type:
        """Type of the value, or of each item of a list."""
        return str if self.is_list else type(self.default)

    @property
    def expected(self) -> str:
        """What is accepted, in words."""
        if self.is_list:
            return "a list of strings"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        bounds = "" if self.limits is None else " from {} to {}".format(*self.limits)
        return _WORDS[self.kind] + bounds

    def faults(self, value: Any, schema: ModelSchema | None) -> list[str]:
        """What is wrong with a value, in words."""
        items = value if self.is_list and isinstance(value, tuple) else (value,)
        if self.kind is float and type(value) in (int, float) and value == self.default:
            return []
        kinds = (int, float) if self.kind is float else (self.kind,)
        is_typed = isinstance(value, tuple) == self.is_list and all(type(item) in kinds for item in items)
        if (
            not is_typed
            or (self.choices and value not in self.choices)
            or (self.limits is not None and not self.limits[0] <= value <= self.limits[1])
        ):
            return [f"{self.name}: {_shown(value):.40} given, {self.expected} expected"]
        found = []
        if self.unique and len(set(items)) < len(items):
            found.append(f"{self.name}: {list(items)} names a column twice")
        if self.features and schema is not None and items:
            types = {feature.name: feature.type for feature in schema.features}
            for name in items:
                if name not in types:
                    found.append(f"{self.name}: no feature {name!r}; the model has {listed(list(types), 10)}")
                elif self.features == "ordered" and types[name] == "text":
                    found.append(f"{self.name}: the text {name!r} has no order; explanations never change it")
                elif self.features == "ordered" and types[name] == "string":
                    found.append(
                        f"{self.name}: the categories of {name!r} have no order; use immutable_features"
                    )
        return found


def _shown(value: Any) -> str:
    """A value as requests write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def _parameter(default: Any, help: str, of: Sequence[Signature], **rest: Any) -> Any:
    return field(default=default, metadata={"help": help, "of": tuple(of), **rest})


@dataclass(frozen=True)
class Parameters:
    """The parameters of a request, in the order of the signature; see `from_params`.

    Examples
    --------
    >>> Parameters.from_params({"explain": True, "shoe_size": 43}) == Parameters(explain=True)
    True
    """

    explain: bool = _parameter(False, "add an explanation of each row", (ROWS, FILE))
    engine: str = _parameter(
        "lore",
        "what explains; `lore_sa` is the published library, if it is installed",
        _EXPLAIN,
        choices=("lore", "lore_sa"),
    )
    effort: str = _parameter(
        "fast", "how much work to put into each explanation", _EXPLAIN, choices=("fast", "thorough")
    )
    seed: int = _parameter(0, "the same row with the same seed gets the same explanation", _EXPLAIN)
    max_counterfactuals: int = _parameter(
        3, "the most counterfactuals of an explanation", _EXPLAIN, limits=(0, 20)
    )
    immutable_features: tuple[str, ...] = _parameter(
        (), "features that counterfactuals may not change", _EXPLAIN, features="any"
    )
    mutable_features: tuple[str, ...] = _parameter(
        (),
        "sensitive features, such as sex, race or age, that counterfactuals may change after all",
        _EXPLAIN,
        features="any",
    )
    increase_only: tuple[str, ...] = _parameter(
        (), "features that counterfactuals may only increase", _EXPLAIN, features="ordered"
    )
    decrease_only: tuple[str, ...] = _parameter(
        (), "features that counterfactuals may only decrease", _EXPLAIN, features="ordered"
    )
    coverage: float = _parameter(
        0.0,
        "add the set of classes that holds the true one with this probability",
        _EXPLAIN,
        limits=(0.5, 0.999),
    )
    input_format: str = _parameter(
        "", "format of the input, instead of finding it by content, then by name", (FILE,)
    )
    output_format: str = _parameter("", "format of the output, instead of the input's", (FILE,))
    passthrough: tuple[str, ...] = _parameter(
        (), "columns to copy before the predictions; CSV columns are copied as text", (FILE,), unique=True
    )
    on_bad_row: str = _parameter(
        "fail",
        "`mark` keeps a bad row in place, without a prediction, and gives the reason in the column `error`",
        (FILE,),
        choices=("fail", "mark"),
    )

    @classmethod
    def from_params(
        cls, params: Any, schema: ModelSchema | None = None, signature: Signature = FILE
    ) -> Parameters:
        """Parameters of a request, or one error that names all that is wrong with them.

        Unknown names are ignored, as MLflow does it; None and empty text stand for the default. The explainer
        always explains.

        NumPy's scalars and arrays stand for plain values and lists. The schema knows the features. Raises
        InputError if `params` is not an object, or a value is not accepted.
        """
        if params is None:
            params = {}
        if not isinstance(params, Mapping):
            raise InputError(f"params must be an object, such as {{'explain': true}}; {params!r:.40} given.")
        given: dict[str, Any] = {}
        for parameter in parameters_of(signature):
            value = params.get(parameter.name, "")
            value = value.tolist() if hasattr(value, "tolist") else value
            if parameter.is_list and isinstance(value, list):
                given[parameter.name] = tuple(value)
            elif value != "" and (value is not None or parameter.is_list):
                given[parameter.name] = value
        if signature == EXPLAINER:
            given["explain"] = True
        parameters = cls(**given)
        if given:
            parameters.validate(schema)
        return parameters

    def validate(self, schema: ModelSchema | None = None) -> None:
        """Raise an InputError that names every value which is not accepted, or does not fit the schema."""
        faults = [
            fault
            for parameter in parameters_of()
            for fault in parameter.faults(getattr(self, parameter.name), schema)
        ]
        if not faults:
            faults = [
                f"{name!r} is in increase_only and in decrease_only; use immutable_features"
                for name in sorted(set(self.increase_only) & set(self.decrease_only))
            ]
        if faults:
            rest = len(faults) - _MOST_FAULTS
            more = f"; and {rest} more" if rest > 0 else ""
            raise InputError("Parameters: " + "; ".join(faults[:_MOST_FAULTS]) + more + ".")


@cache
def parameters_of(signature: Signature | None = None) -> tuple[Parameter, ...]:
    """The rows of the table that a signature has; all of them by default."""
    rows = (Parameter(item.name, item.default, **item.metadata) for item in fields(Parameters))
    return tuple(row for row in rows if signature is None or signature in row.of)
