"""MLflow's scoring protocol: the bodies of `/invocations` and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.schema import ModelSchema
from proto_model.server.csv_rows import csv_columns
from proto_model.server.errors import MediaTypeError, too_many_rows
from proto_model.server.json_body import parsed
from proto_model.server.params import checked_params
from proto_model.server.parquet_rows import parquet_columns
from proto_model.server.rows import RowReader
from proto_model.server.scorer import Answer, Question

__all__ = ["JSON", "Invocations"]

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")

Matrix = NDArray[np.float64]


class Invocations:
    """Reads and writes the bodies of `/invocations` for one schema.

    Parameters
    ----------
    schema : ModelSchema
        Of the model.
    always_explains : bool
        Whether the model is the explainer.
    max_rows : int
        Most rows of a body.
    """

    def __init__(self, schema: ModelSchema, always_explains: bool = False, max_rows: int = 1_000_000) -> None:
        self.schema = schema
        self.always_explains = always_explains
        self.max_rows = max_rows
        self._rows = RowReader(schema)
        self._forms = {
            "dataframe_split": self._split,
            "dataframe_records": self._records,
            "inputs": self._inputs,
            "instances": self._instances,
        }

    def read(self, body: bytes, content_type: str) -> Question:
        """Question of a body.

        Raises
        ------
        MediaTypeError, LengthError, InputError
            If the body is not of a type that is taken, has too many rows, or is not right.
        """
        kind = JSON if content_type == JSON else _media_type(content_type)
        if kind == JSON:
            content = parsed(body)
            params = checked_params(content.get("params"))
            matrix = self._matrix(content)
        else:
            params = {}
            columns: Mapping[str, Any]
            if kind == CSV:
                columns = csv_columns(body, self.schema)
            else:
                columns = parquet_columns(body, self.schema, self.max_rows)
            matrix = self._rows.columns(columns)
        if len(matrix) > self.max_rows:
            raise too_many_rows(len(matrix), self.max_rows)
        return Question(matrix, params, self.always_explains or bool(params.get("explain")))

    def write(self, answer: Answer) -> bytes:
        """Body of an answer."""
        names = self.schema.probability_columns
        classes = self.schema.classes
        records: list[dict[str, Any]] = []
        for row in answer.probabilities.tolist():
            most = max(row)
            record = {"prediction": classes[row.index(most)], "probability": most}
            if not self.always_explains:
                record.update(zip(names, row, strict=True))
            records.append(record)
        if answer.explanations is not None:
            for record, explanation in zip(records, answer.explanations, strict=True):
                record["explanation"] = explanation
        return orjson.dumps({"predictions": records})

    def _matrix(self, content: dict[str, Any]) -> Matrix:
        """Coded rows of a JSON body."""
        given = [name for name in FORMATS if name in content]
        if len(given) != 1:
            found = ", ".join(map(repr, list(content)[:5])) or "nothing"
            raise InputError(f"Exactly one of {', '.join(FORMATS)} expected in the body, {found} given.")
        return self._forms[given[0]](content[given[0]])

    def _split(self, split: Any) -> Matrix:
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
        return self._rows.table(split.get("columns"), rows)

    def _records(self, records: Any) -> Matrix:
        if not isinstance(records, list) or set(map(type, records)) - {dict}:
            raise InputError('dataframe_records must be a list of objects such as [{"column": value, ...}].')
        self._refuse_many(records)
        return self._rows.records(records)

    def _inputs(self, inputs: Any) -> Matrix:
        if isinstance(inputs, dict):
            self._refuse_many(next(iter(inputs.values()), None))
            return self._rows.columns(inputs)
        if isinstance(inputs, list) and set(map(type, inputs)) <= {dict}:
            return self._records(inputs)
        raise InputError(
            'inputs and instances must be a list of objects such as [{"column": value, ...}], or an object '
            'of columns such as {"column": [value, ...], ...}.'
        )

    def _instances(self, instances: Any) -> Matrix:
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


def _media_type(content_type: str) -> str:
    """Media type of a header, without its parameters."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if kind not in (JSON, CSV, PARQUET):
        shown = f"Content-Type {content_type[:80]!r}" if content_type else "No Content-Type"
        raise MediaTypeError(f"{shown} given, one of {JSON}, {CSV}, {PARQUET} expected.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name != "charset":
            raise MediaTypeError(
                f"Content-Type parameter {name[:40]!r} given, only charset=utf-8 is understood."
            )
        if value.lower() != "utf-8":
            raise MediaTypeError(f"Charset {value[:40]!r} given, only utf-8 is understood.")
    return kind
