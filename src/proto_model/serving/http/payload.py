"""What requests carry, whatever the protocol: rows in, answers out. `file_payload` is the same for files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import orjson

from proto_model.model import Answer, Predictor, answer_fields
from proto_model.model.rows import RowReader
from proto_model.parameters import Parameters
from proto_model.serving.http.forms import TableReader
from proto_model.serving.http.table_bodies import csv_columns, parquet_columns
from proto_model.serving.http.tensors import TAKES, column_datatype

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"

# Up to here rows are answered at once: that takes less time than handing them to a thread.
SMALL_N_CELLS = 4096

Output = tuple[str, str, list[Any]]
"""Name, datatype and data of a tensor of shape [n_rows, 1]."""


class Question(NamedTuple):
    """What a request asks."""

    rows: Any  # a coded matrix, or a list of FileJob
    parameters: Parameters


class Payload(Protocol):
    """What the requests and the answers of one model consist of."""

    media_types: tuple[str, ...]
    max_rows: int
    inputs: Mapping[str, Sequence[str]]
    """Datatypes of V2 that each column takes, the one to be announced first."""
    outputs: Mapping[str, str]
    """Datatype of V2 of each column of an answer, asked for or not."""

    @property
    def reader(self) -> TableReader:
        """Makes rows of a table of JSON or of tensors."""

    def question(self, rows: Any, params: Any, outputs: Sequence[str] = ()) -> Question:
        """Question about rows; raises InputError for a parameter that is wrong."""

    def read(self, body: bytes, media_type: str) -> Any:
        """Rows of a body that is not JSON."""

    def work(self, question: Question) -> str | None:
        """Kind of work that a question makes; None for so little that no thread is worth it."""

    def answer(self, question: Question, go_on: Callable[[], None] | None = None) -> Any:
        """Answer to a question; `go_on` ends the work by raising."""

    def n_rows(self, answer: Any) -> int:
        """Number of rows that were answered."""

    def records(self, answer: Any) -> list[dict[str, Any]]:
        """Rows of an answer as JSON objects."""

    def tensors(self, answer: Any, names: Iterable[str]) -> list[Output]:
        """Columns of an answer."""


class RowPayload:
    """Rows with a column per feature."""

    media_types: tuple[str, ...] = (JSON, CSV, PARQUET)

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        schema = predictor.schema
        self.max_rows = max_rows
        self.reader = RowReader(schema)
        self.inputs: Mapping[str, Sequence[str]] = {
            feature.name: TAKES[feature.type] for feature in schema.features
        }
        self.outputs: Mapping[str, str] = {
            field.name: column_datatype(field.type)
            for field in answer_fields(schema, None, predictor.signature)
        }
        self._predictor = predictor

    def question(self, rows: Any, params: Any, outputs: Sequence[str] = ()) -> Question:
        """Question about coded rows."""
        parameters = self._predictor.parameters(params)
        if "explanation" in outputs and not parameters.explain:
            parameters = replace(parameters, explain=True)
        return Question(rows, parameters)

    def read(self, body: bytes, media_type: str) -> Any:
        """Coded rows of CSV or Parquet."""
        schema = self._predictor.schema
        if media_type == CSV:
            return self.reader.columns(csv_columns(body, schema))
        return self.reader.columns(parquet_columns(body, schema, self.max_rows))

    def work(self, question: Question) -> str | None:
        """Explanations and large tables do not wait for each other."""
        if question.parameters.explain:
            return "explanation"
        return "body" if question.rows.size > SMALL_N_CELLS else None

    def answer(self, question: Question, go_on: Callable[[], None] | None = None) -> Answer:
        """Answer of the model."""
        return self._predictor.answer(question.rows, question.parameters, go_on)

    def n_rows(self, answer: Answer) -> int:
        """All rows are answered."""
        return len(answer)

    def records(self, answer: Answer) -> list[dict[str, Any]]:
        """A record per row."""
        return answer.records()

    def tensors(self, answer: Answer, names: Iterable[str]) -> list[Output]:
        """Tensors of these names, as far as the answer has them; an explanation is one text."""
        columns = answer.lists()
        for field in answer.fields:
            if field.type == "json":
                columns[field.name] = [orjson.dumps(item).decode() for item in columns[field.name]]
        return [(name, self.outputs[name], columns[name]) for name in names if name in columns]
