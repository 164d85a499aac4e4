"""JSON bodies, and the four forms in which `/invocations` takes a table in one, whatever its rows are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from proto_model.errors import InputError
from proto_model.serving.http.errors import LengthError, too_many_rows

SPARE_PARTS = 100_000  # lists and objects in JSON besides two for each row
EXAMPLE = 'Send a JSON object with the rows, such as {"inputs": [...]}.'
FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")


def parsed(body: bytes, max_rows: int) -> dict[str, Any]:
    """JSON object of a body; NaN, Infinity and UTF-16, which MLflow takes and orjson does not, are read.

    Raises LengthError before it reads more lists and objects than so many rows can need. In memory, each
    takes twenty times its two characters, and a few kilobytes of gzip hold millions.
    """
    most = 2 * max_rows + SPARE_PARTS
    if len(body) > most and body.count(b"[") + body.count(b"{") > most:
        raise LengthError(f"The body has more than {most} lists and objects. Send fewer rows at a time.")
    if not body:
        raise InputError(f"The body is empty. {EXAMPLE}")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError(f"The body is not JSON: {_reason(error)}.") from error
    if not isinstance(content, dict):
        raise InputError(f"The body is not a JSON object. {EXAMPLE}")
    return content


def _reason(error: Exception) -> str:
    """What is wrong, without the body."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not {error.encoding}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


class TableReader(Protocol):
    """Makes something of a table, in the ways in which JSON can hold one."""

    def table(self, columns: Any, rows: Any) -> Any:
        """Rows that are lists, below a list of column names."""

    def records(self, records: Sequence[Mapping[str, Any]]) -> Any:
        """Rows that are objects."""

    def columns(self, columns: Mapping[str, Any]) -> Any:
        """Object of columns, each a list of values, or one value."""

    def matrix(self, rows: Sequence[Any]) -> Any:
        """At least one row without column names, a list of values."""

    def tensor(self, values: Any, n_rows: int) -> Any:
        """Rows without column names as an array, or as one value after the other, row by row."""


class Forms:
    """Finds the table in a body."""

    def __init__(self, reader: TableReader, max_rows: int) -> None:
        self.reader = reader
        self.max_rows = max_rows
        self._forms = {
            "dataframe_split": self._split,
            "dataframe_records": self._records,
            "inputs": self._inputs,
            "instances": self._instances,
        }

    def read(self, content: dict[str, Any]) -> Any:
        """What the reader makes of the table in a JSON body; raises LengthError or InputError."""
        given = [name for name in FORMATS if name in content]
        if len(given) != 1:
            found = ", ".join(map(repr, list(content)[:5])) or "nothing"
            raise InputError(f"Exactly one of {', '.join(FORMATS)} expected in the body, {found} given.")
        return self._forms[given[0]](content[given[0]])

    def _split(self, split: Any) -> Any:
        if not isinstance(split, dict) or "data" not in split or split.keys() - {"columns", "data", "index"}:
            raise InputError(
                "dataframe_split must be an object with columns (names), data (a list of rows) and nothing "
                "else but index."
            )
        rows, index = split["data"], split.get("index")
        self._refuse_many(rows)
        if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
            raise InputError(
                "The index of dataframe_split must be a list with one entry per row; leave it out."
            )
        return self.reader.table(split.get("columns"), rows)

    def _records(self, records: Any) -> Any:
        if not isinstance(records, list) or set(map(type, records)) - {dict}:
            raise InputError('dataframe_records must be a list of objects such as [{"column": value, ...}].')
        self._refuse_many(records)
        return self.reader.records(records)

    def _inputs(self, inputs: Any) -> Any:
        if isinstance(inputs, dict):
            self._refuse_many(next(iter(inputs.values()), None))
            return self.reader.columns(inputs)
        if isinstance(inputs, list) and set(map(type, inputs)) <= {dict}:
            return self._records(inputs)
        if isinstance(inputs, list) and isinstance(inputs[0], list):
            self._refuse_many(inputs)
            return self.reader.matrix(inputs)
        raise InputError(
            'inputs and instances must be a list of objects such as [{"column": value, ...}], an object of '
            'columns such as {"column": [value, ...], ...}, or a list of rows such as [[value, ...], ...].'
        )

    def _instances(self, instances: Any) -> Any:
        if isinstance(instances, list) and instances and isinstance(instances[0], dict):
            names = instances[0].keys()
            for number, record in enumerate(instances):
                if not isinstance(record, dict) or record.keys() != names:
                    raise InputError(
                        f"instances: row {number} has other columns than row 0. Send null for missing values."
                    )
        elif isinstance(instances, dict) and set(map(type, instances.values())) - {list}:
            raise InputError("instances: an object of columns needs a list of values for each of them.")
        return self._inputs(instances)

    def _refuse_many(self, rows: Any) -> None:
        if isinstance(rows, list) and len(rows) > self.max_rows:
            raise too_many_rows(len(rows), self.max_rows)
