"""From requests in an application's words to requests for the model server.

What a client sends is checked as any request is, against a schema in the client's words, so every fault and
every warning names what the client sent, in its units. Then the columns are translated.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Table
from typing import Any

from mapper.application.expression import Expression
from mapper.application.functions import NotComputableError
from mapper.application.mapping import Field, Mapping
from mapper.errors import Findings, InvalidRequestError, shown
from mapper.mapping.parameters import FEATURES, ORDERED, PARAMETERS
from mapper.mapping.request import MAX_ROWS, Columns, ModelRequest, RequestMapper, fill, refusal
from mapper.mapping.schema import Value
from mapper.mapping.values import Field as Rule
from mapper.mapping.values import compile_fields

MAX_WHOLE = 1 << 53  # whole numbers below are the same as float and as int
NO_FILES = "the mapping of this application does not apply to files: send rows as `data`"


class MappedRequests(RequestMapper):
    """Checks requests in a mapping's words, and translates them."""

    unknown = "there is no such field; left out"

    def __init__(self, mapping: Mapping, max_rows: int = MAX_ROWS) -> None:
        super().__init__(mapping.outside(), max_rows)
        self._mapping = mapping
        self._rules = compile_fields(mapping.inside)
        self._inside_nullable = tuple(rule for rule in self._rules if rule.nullable)
        self._direct = {field.feature: field for field in mapping.fields if field.feature is not None}
        whole = {feature.name for feature in mapping.inside.features if feature.type == "long"}
        self._conversions = {
            name: _conversion(field, is_whole=name in whole) for name, field in self._direct.items()
        }
        self._read = frozenset(name for found in mapping.computed.values() for name in found.names)
        self._by_name = {field.name: field for field in mapping.fields}

    def map(
        self,
        request: object,
        *,
        explain: bool,
        defaults: Table[str, Any] | None = None,
        session: object = None,
    ) -> ModelRequest:
        """The model server's request, as `RequestMapper.map` gives it; files are refused."""
        if isinstance(request, dict) and request.get("file") is not None:
            raise refusal_of("file", NO_FILES)
        result = super().map(request, explain=explain, defaults=defaults, session=session)
        if explain:
            result["params"] = self._parameters(result["params"])
        return result

    def _write(self, result: ModelRequest, columns: Columns, faults: Findings, warnings: Findings) -> None:
        """Put the translated columns into the result, unless one of them does not fit the model."""
        fields = self._by_name
        given = {name: _filled(column, fields[name]) for name, column in columns.items()}
        n_rows = len(next(iter(given.values())))
        translated: Columns = {}
        for rule in self._rules:
            name = rule.name
            if name in self._mapping.constants:
                translated[name] = [self._mapping.constants[name]] * n_rows
            elif name in self._mapping.computed:
                expression = self._mapping.computed[name]
                translated[name] = self._computed(rule, expression, given, n_rows, faults, warnings)
            else:
                field, convert = self._direct[name], self._conversions[name]
                column = given[field.name]
                translated[name] = column if convert is None else list(map(convert, column))
                if field.unit is not None:
                    translated[name] = _checked(rule, translated[name], field, column, faults)
        if not faults.count:
            fill(result, translated, self._inside_nullable)

    def _computed(
        self,
        rule: Rule,
        expression: Expression,
        given: Columns,
        n_rows: int,
        faults: Findings,
        warnings: Findings,
    ) -> list[Any]:
        """A computed column; what is wrong with a value names the fields that it is computed from."""
        names = expression.names
        field = names[0] if names else rule.name
        computed_from = f"computed from {', '.join(names)}" if names else "computed by the mapping"
        column = []
        for row in range(n_rows):
            record = {name: given[name][row] for name in names}
            try:
                value = expression.value(record)
            except NotComputableError as error:
                faults.add("not_computable", f"{computed_from}: {error}", row, field)
                continue
            if isinstance(value, float) and value.is_integer() and abs(value) < MAX_WHOLE:
                value = int(value)
            if not rule.accepts(value):
                value, kind, message, is_fault = rule.read(value)
                if kind:
                    (faults if is_fault else warnings).add(kind, f"{computed_from}: {message}", row, field)
            column.append(value)
        return column

    def _parameters(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters of explanations, in the model's words; what the mapping itself sets may not change."""
        translated = dict(params)
        fixed = [name for name in self._mapping.constants]
        for parameter in PARAMETERS:
            if parameter.name == "immutable_features" and parameter.name in params:
                fixed += self._features(params[parameter.name], any)
            elif parameter.kind is FEATURES and parameter.name in params:
                translated[parameter.name] = self._features(params[parameter.name], all)
            elif parameter.kind is ORDERED and parameter.name in params:
                names = [self._one_feature(parameter.name, name) for name in params[parameter.name]]
                translated[parameter.name] = names
        if fixed:
            translated["immutable_features"] = list(dict.fromkeys(fixed))
        return translated

    def _features(self, wanted: list[str], enough: Callable[[list[bool]], bool]) -> list[str]:
        """Features that fields stand for, and those computed from any or all of these fields."""
        names = [f.feature for f in self._direct.values() if f.name in wanted and f.feature]
        for name, expression in self._mapping.computed.items():
            if expression.names and enough([source in wanted for source in expression.names]):
                names.append(name)
        return list(dict.fromkeys(names))

    def _one_feature(self, parameter: str, name: str) -> str:
        field = self._by_name[name]
        if field.feature is None or field.name in self._read:
            message = f"features are computed from {shown(name)}; use immutable_features"
            raise refusal_of(f"parameters.{parameter}", message, "bad_parameter")
        return field.feature


def refusal_of(field: str, message: str, kind: str = "bad_request") -> InvalidRequestError:
    """The refusal of a request for one fault."""
    faults = Findings()
    faults.add(kind, message, field=field)
    return refusal(faults)


def _filled(column: list[Any], field: Field) -> list[Any]:
    """A column with the field's default where a value is missing."""
    if field.default is None or None not in column:
        return column
    return [field.default if value is None else value for value in column]


def _conversion(field: Field, *, is_whole: bool) -> Callable[[Any], Value] | None:
    """What a field's value is to the model; None where it is the same."""
    if field.unit is not None:
        inward = field.unit.inward
        if is_whole:
            return lambda value: None if value is None else round(inward(value))
        return lambda value: None if value is None else inward(value)
    if field.lookup is not None:
        table, otherwise = field.lookup, field.otherwise
        return lambda value: None if value is None else table.get(value, otherwise)
    return None


def _checked(rule: Rule, column: list[Any], field: Field, given: list[Any], faults: Findings) -> list[Any]:
    """A converted column as the model takes it; warnings were given in the client's units."""
    accepts = rule.accepts
    if all(map(accepts, column)) or all(value is None or accepts(value) for value in column):
        return column
    checked = []
    for row, value in enumerate(column):
        verdict = None if value is None or rule.accepts(value) else rule.read(value)
        if verdict is not None and verdict.kind and verdict.is_fault:
            unit = "" if field.unit is None else f" {field.unit.name}"
            message = f"{shown(given[row])}{unit} is {shown(value)} to the model: {verdict.message}"
            faults.add(verdict.kind, message, row, field.name)
        checked.append(value if verdict is None else verdict.value)
    return checked
