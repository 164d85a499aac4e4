"""MLflow's scoring protocol: the bodies of `/invocations` and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proto_model.model.rows import RowReader
from proto_model.schema import ModelSchema
from proto_model.serving.http.errors import too_many_rows
from proto_model.serving.http.forms import Forms, parsed
from proto_model.serving.http.media_type import JSON, media_type
from proto_model.serving.http.params import checked_params
from proto_model.serving.http.scorer import Answer, Question
from proto_model.serving.http.table_bodies import csv_columns, parquet_columns

__all__ = ["Invocations"]

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"


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
        self._forms = Forms(self._rows, max_rows)

    def read(self, body: bytes, content_type: str) -> Question:
        """Question of a body.

        Raises
        ------
        MediaTypeError, LengthError, InputError
            If the body is not of a type that is taken, has too many rows, or is not right.
        """
        kind = JSON if content_type == JSON else media_type(content_type, (JSON, CSV, PARQUET))
        if kind == JSON:
            content = parsed(body)
            params = checked_params(content.get("params"))
            matrix = self._forms.read(content)
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
