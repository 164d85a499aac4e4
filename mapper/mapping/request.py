"""From what a client sends to what the model server takes.

Everything is checked against the schema first. Columns whose values are all plain take the fast path: one
pass that checks the values and builds the columns. All others take the slow path, row by row: each value is
read by the rule book, and every fault is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict

import orjson

from mapper.errors import Finding, Findings, InvalidRequestError, TooLargeError, short_name, shown
from mapper.mapping.file_part import FileRequest, read_file_part
from mapper.mapping.objects import PARTS, Bytes, json_copy, request_content
from mapper.mapping.parameters import check_parameters
from mapper.mapping.schema import ModelSchema
from mapper.mapping.values import Field, compile_fields, plain_column

MAX_ROWS = 10_000

Columns = dict[str, list[Any]]


class TangoRequest(TypedDict, total=False):
    """What a client sends: `data` or `file`, and options (`schemas/mapper-request.schema.json`)."""

    data: Any
    file: FileRequest
    parameters: dict[str, Any]
    session: Any


class ModelRequest(dict[str, Any]):
    """The JSON object for the model server's /invocations, and what its answer is checked against.

    `n_rows` counts rows or file jobs, and `warnings` are the first of `warning_count`.
    """

    __slots__ = ("explain", "file_id", "is_file", "n_rows", "session", "warning_count", "warnings")

    n_rows: int
    explain: bool
    is_file: bool
    file_id: str | None
    session: Any
    warnings: Sequence[Finding]
    warning_count: int

    @classmethod
    def of(cls, mapped: Any, *, explain: bool) -> ModelRequest:
        """What any `map_request` gave, which may be a plain object or its JSON in bytes.

        Raises TypeError if it is neither, or no JSON object.
        """
        if isinstance(mapped, cls):
            return mapped
        content = orjson.loads(mapped) if isinstance(mapped, Bytes) else mapped
        if not isinstance(content, Mapping):
            raise TypeError(
                f"map_request gave a {type(mapped).__name__}; a JSON object or its bytes expected"
            )
        request = cls(content)
        request.explain, request.file_id, request.session = explain, None, None
        request.warnings, request.warning_count = (), 0
        inputs = request.get("inputs")
        request.is_file = isinstance(inputs, Mapping) and "input_url" in inputs
        request.n_rows = _row_count(request)
        return request


def _row_count(request: Mapping[str, Any]) -> int:
    """Rows in one of the forms that MLflow's servers take; 0 if it is none of them."""
    table = request.get("dataframe_split")
    if isinstance(table, Mapping):
        return len(table.get("data", ()))
    for form in ("inputs", "instances", "dataframe_records"):
        rows = request.get(form)
        if isinstance(rows, Mapping):
            rows = next(iter(rows.values()), ())
        if isinstance(rows, list):
            return len(rows)
    return 0


class RequestMapper:
    """Checks and translates requests of at most `max_rows` rows for one model version."""

    unknown = "no feature of the model; left out"

    def __init__(self, schema: ModelSchema, max_rows: int = MAX_ROWS) -> None:
        self._fields = compile_fields(schema)
        self._quick = tuple((field.name, field.nullable, field.accepts) for field in self._fields)
        self._nullable = tuple(field for field in self._fields if field.nullable)
        self._known = frozenset(schema.feature_names)
        self._schema = schema
        self._max_rows = max_rows

    def map(
        self,
        request: object,
        *,
        explain: bool,
        defaults: Mapping[str, Any] | None = None,
        session: object = None,
    ) -> ModelRequest:
        """The model server's request; raises InvalidRequestError, with every fault, and TooLargeError.

        A request may also be bytes of JSON, which may raise NotJsonError, or an object with the parts of a
        request as attributes. `defaults` are parameters, already checked, that hold where the request gives
        none. `session` comes back with the answer; by default it is that of the request.
        """
        faults, warnings = Findings(), Findings()
        if type(request) is not dict:
            request = request_content(request)
        if not isinstance(request, dict):
            faults.add("bad_request", f'{shown(request)} given, an object expected: {{"data": ...}}')
            raise refusal(faults)
        for part in [name for name in request if name not in PARTS]:
            faults.add("unknown_part", f"no such part; known: {', '.join(PARTS)}", field=short_name(part))
        is_file = request.get("file") is not None
        if is_file == (request.get("data") is not None):
            given = "`data` and `file` given" if is_file else "neither `data` nor `file` given"
            faults.add("bad_request", f"{given}; send rows as `data`, or a file as `file`")
        params = check_parameters(
            request.get("parameters"), self._schema, faults, explain=explain, is_file=is_file
        )
        result = ModelRequest()
        result.file_id = None
        if is_file:
            result.n_rows = 1
            result["inputs"], result.file_id = read_file_part(request["file"], faults)
        elif request.get("data") is not None:
            result.n_rows = self._map_data(request["data"], result, faults, warnings)
        try:
            if session is not None:
                session = json_copy(session)
            elif isinstance(session := request.get("session"), dict | list):
                orjson.dumps([session])  # the answer holds it one level further in
        except (TypeError, ValueError) as error:
            faults.add("bad_request", f"cannot be sent back as JSON: {error}", field="session")
        if faults.count:
            raise refusal(faults)
        if explain:
            params = {**(defaults or {}), **params, "explain": True}
        if params:
            result["params"] = params
        result.explain = explain
        result.is_file = is_file
        result.session = session
        result.warnings = warnings.kept
        result.warning_count = warnings.count
        return result

    def _map_data(self, data: object, result: ModelRequest, faults: Findings, warnings: Findings) -> int:
        """Put the columns of `data` into the result; give the number of rows."""
        names: Any = None
        if isinstance(data, dict):
            if data.keys() == {"columns", "rows"} and isinstance(data["rows"], list):
                names, rows = data["columns"], data["rows"]
                if not self._right_names(names, faults, warnings):
                    return 0
            elif isinstance(data.get("columns"), list) and not self._known.intersection(data):
                faults.add(
                    "bad_request", "`columns` given; with `rows` and nothing else expected", field="data"
                )
                return 0
            else:
                rows = [data]
        elif isinstance(data, list):
            rows = data
        else:
            message = f"{shown(data)} given; a record, a list of records, or columns and rows expected"
            faults.add("bad_request", message, field="data")
            return 0
        if not rows:
            faults.add("bad_request", "no rows given, at least one expected", field="data")
            return 0
        if len(rows) > self._max_rows:
            raise TooLargeError(
                f"Too many rows: {len(rows)}, and the limit is {self._max_rows}. "
                "Send several requests, or a file."
            )
        if names is None:
            self._leave_out(rows, warnings)
        is_one = names is None and len(rows) == 1
        columns = self._plain_record(rows[0]) if is_one else self._plain_columns(names, rows)
        if len(columns) < len(self._fields):
            columns = self._read_columns(_records(names, rows, faults), columns, faults, warnings)
        if not faults.count:
            self._write(result, columns, faults, warnings)
        return len(rows)

    def _write(self, result: ModelRequest, columns: Columns, faults: Findings, warnings: Findings) -> None:
        """Put the checked columns into the result."""
        fill(result, columns, self._nullable)

    def _right_names(self, names: object, faults: Findings, warnings: Findings) -> bool:
        """Whether `columns` names every required feature once; others are left out."""
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            faults.add("bad_request", "a list of column names expected", field="data.columns")
            return False
        before = faults.count
        for name, times in Counter(names).items():
            if times > 1:
                faults.add("duplicate_column", f"given {times} times, once expected", field=name)
        for name in names:
            if name not in self._known:
                self._add_unknown(name, 0, warnings)
        given = frozenset(names)
        for field in self._fields:
            if field.name not in given and not field.nullable:
                hint = self._misspelt(field.name, names)
                faults.add("missing_field", f"a required column is missing{hint}", field=field.name)
        return faults.count == before

    def _plain_record(self, record: Any) -> Columns:
        """Columns of one record whose values are all plain, which most requests are; else none."""
        if type(record) is not dict:
            return {}
        get, columns = record.get, {}
        for name, nullable, accepts in self._quick:
            value = get(name)
            if not accepts(value) and (value is not None or not nullable):
                return {}
            columns[name] = [value]
        return columns

    def _plain_columns(self, names: Any, rows: list[Any]) -> Columns:
        """Those columns of many rows whose values are all plain; none when a row has another form."""
        if names is None:
            if not all(type(row) is dict for row in rows):
                return {}
            columns = {name: [row.get(name) for row in rows] for name, _, _ in self._quick}
        else:
            if not all(type(row) is list and len(row) == len(names) for row in rows):
                return {}
            given = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
            columns = {name: given.get(name) or [None] * len(rows) for name, _, _ in self._quick}
        plain = {field.name: plain_column(field, columns[field.name]) for field in self._fields}
        return {name: column for name, column in plain.items() if column is not None}

    def _read_columns(
        self, records: Iterable[tuple[int, Any]], plain: Columns, faults: Findings, warnings: Findings
    ) -> Columns:
        """All columns; those that are not plain are read row by row, and every fault is found."""
        columns = {field.name: plain.get(field.name, []) for field in self._fields}
        odd = [field for field in self._fields if field.name not in plain]
        for row, record in records:
            if not isinstance(record, dict):
                faults.add("bad_request", f"{shown(record)} given, a record expected", row)
                continue
            for name, nullable, _, accepts, read in odd:
                value = record.get(name)
                if not accepts(value):
                    if value is None and not nullable and name not in record:
                        told = faults.is_told("missing_field", name)
                        hint = "" if told else self._misspelt(name, record)
                        faults.add("missing_field", f"a required field is missing{hint}", row, name)
                        continue
                    value, kind, message, is_fault = read(value)
                    if kind:
                        (faults if is_fault else warnings).add(kind, message, row, name)
                columns[name].append(value)
        return columns

    def _leave_out(self, rows: list[Any], warnings: Findings) -> None:
        """Warn of what is no feature; only the features are read."""
        known = self._known
        for row, record in enumerate(rows):
            if isinstance(record, dict) and not known.issuperset(record):
                for name in record:
                    if name not in known:
                        self._add_unknown(name, row, warnings)

    def _add_unknown(self, name: str, row: int, warnings: Findings) -> None:
        field = short_name(name)
        is_told = warnings.is_told("unknown_field", field)
        near = [] if is_told else get_close_matches(str(name)[:200], self._known, 1)
        hint = f"; did you mean {shown(near[0])}?" if near else ""
        warnings.add("unknown_field", f"{self.unknown}{hint}", row, field)

    def _misspelt(self, name: str, given: Iterable[Any]) -> str:
        """What was given instead of a required field, perhaps, for its message."""
        others = [str(one)[:200] for one in given if one not in self._known]
        near = get_close_matches(name, others, 1)
        return f"; is it misspelled as {shown(near[0])}?" if near else ""


def refusal(faults: Findings) -> InvalidRequestError:
    """The refusal of a request with faults."""
    many = "" if faults.count == 1 else "s"
    message = f"The request has {faults.count} fault{many}; nothing was predicted."
    return InvalidRequestError(message, faults.kept, faults.count)


def _records(names: Any, rows: list[Any], faults: Findings) -> Iterable[tuple[int, Any]]:
    """Rows with their positions, as records; rows of the wrong width are faults and left out."""
    if names is None:
        yield from enumerate(rows)
        return
    for position, row in enumerate(rows):
        if not isinstance(row, list):
            faults.add("bad_request", f"{shown(row)} given, a list of {len(names)} values expected", position)
        elif len(row) != len(names):
            faults.add(
                "row_width", f"{len(row)} given, {len(names)} values expected, one per column", position
            )
        else:
            yield position, dict(zip(names, row, strict=True))


def fill(result: ModelRequest, columns: Columns, nullable: tuple[Field, ...]) -> None:
    """Write columns in the form that MLflow reads fastest and gets right.

    That is `inputs`, a list per column; but there MLflow 3.17 turns the null of a text column into the text
    "None". So columns of nulls only are left out, and any other null among texts asks for `dataframe_split`.
    """
    absent = set()
    for name, _, is_text, _, _ in nullable:
        column = columns[name]
        if None in column:
            if column.count(None) == len(column):
                absent.add(name)
            elif is_text:
                break
    else:
        if len(absent) < len(columns):
            result["inputs"] = {n: c for n, c in columns.items() if n not in absent} if absent else columns
            return
    rows = list(map(list, zip(*columns.values(), strict=True)))
    result["dataframe_split"] = {"columns": list(columns), "data": rows}
