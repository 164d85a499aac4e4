"""From the model server's answer to what the client gets.

Two steps: `read_answer` understands the HTTP answer of any server that speaks MLflow's scoring protocol, and
`AnswerMapper` checks its content against the schema and puts it into the mapper's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict

import orjson

from mapper.errors import (
    ModelServerAnswerError,
    ModelServerDownError,
    ModelServerTimeoutError,
    RefusedByModelError,
)
from mapper.mapping.findings import shown
from mapper.mapping.request import ModelRequest
from mapper.mapping.schema import ModelSchema

__all__ = ["AnswerMapper", "ModelAnswer", "TangoResponse", "clean_message", "read_answer"]

MAX_MESSAGE_CHARACTERS = 2000
MAX_RETRY_AFTER_S = 3600


class TangoResponse(TypedDict, total=False):
    """What a client gets: predictions or a file's summary (`schemas/mapper-response.schema.json`)."""

    model: dict[str, Any]
    predictions: list[dict[str, Any]]
    file: dict[str, Any]
    warnings: list[dict[str, Any]]
    warning_count: int
    session: Any


class ModelAnswer(dict[str, Any]):
    """The model server's JSON answer, with the request that it answers.

    Attributes
    ----------
    request : ModelRequest or None
        None when the answer came from elsewhere; then the number of rows cannot be checked.
    """

    __slots__ = ("request",)

    def __init__(self, content: Mapping[str, Any], request: ModelRequest | None = None) -> None:
        super().__init__(content)
        self.request = request


def read_answer(status: int, retry_after: str | None, body: bytes) -> dict[str, Any]:
    """The JSON object that a model server answered with.

    Parameters
    ----------
    status : int
        HTTP status.
    retry_after : str or None
        Value of the `Retry-After` header.
    body : bytes
        Body of the answer.

    Raises
    ------
    RefusedByModelError
        If it refused the data (400 or 422); its message is kept, without the data.
    ModelServerDownError, ModelServerTimeoutError
        If it said that it is away (429, 503), or that it took too long (504).
    ModelServerAnswerError
        If it answered anything else that is not a JSON object.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if status == 200:
        if not isinstance(content, dict):
            raise ModelServerAnswerError("The model server's answer is not a JSON object. Is its URL right?")
        return content
    message = _message_of(content)
    said = f": {message}" if message else "."
    if status in (400, 422) and message and not (isinstance(content, dict) and "stack_trace" in content):
        raise RefusedByModelError(f"The model refused the request: {message}")
    if status in (429, 503):
        seconds = int(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 1
        raise ModelServerDownError(
            f"The model server says that it is away ({status}){said}", min(max(seconds, 1), MAX_RETRY_AFTER_S)
        )
    if status == 504:
        raise ModelServerTimeoutError(f"The model server gave up because the model took too long{said}")
    raise ModelServerAnswerError(f"The model server answered with status {status}{said}")


def _message_of(content: object) -> str:
    """What an error answer says: MLflow's `message`, or the Open Inference Protocol's `error`."""
    if not isinstance(content, dict):
        return ""
    message = content.get("message") or content.get("error") or content.get("detail")
    return clean_message(message) if isinstance(message, str) else ""


def clean_message(message: str) -> str:
    r"""An error message without the data that MLflow's server repeats in it, and without queries of URLs.

    Examples
    --------
    >>> clean_message("Failed to predict data '   age\n0  1'. \nError: Row 0, age: too low.")
    'Row 0, age: too low.'
    >>> clean_message("GET https://store/a.csv?signature=abc failed")
    'GET https://store/a.csv?... failed'
    """
    if message.startswith("Failed to predict data "):
        message = message.rpartition("\nError: ")[2] if "\nError: " in message else "no reason given"
    message = re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1?...", message).strip()
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else message[:MAX_MESSAGE_CHARACTERS] + "…"


class AnswerMapper:
    """Checks and translates the model server's answers for one model version.

    Parameters
    ----------
    schema : ModelSchema
        Of the version.
    version : str or None
        Number of the version, where it is known.
    """

    def __init__(self, schema: ModelSchema, version: str | None = None) -> None:
        self._columns = tuple((text, f"probability_{text}") for text in schema.class_texts)
        self._labels = dict(zip(schema.classes, schema.classes, strict=True))
        self.model: dict[str, Any] = {"name": schema.model_name, "version": version}

    def map(self, answer: Mapping[str, Any], request: ModelRequest | None) -> TangoResponse:
        """What the client gets.

        Raises
        ------
        ModelServerAnswerError
            If rows, columns or classes are not those of the schema.
        """
        rows = answer.get("predictions")
        if not isinstance(rows, list):
            raise ModelServerAnswerError("The model server's answer has no list of predictions.")
        if request is not None and len(rows) != request.n_rows:
            raise ModelServerAnswerError(
                f"The model server answered {len(rows)} rows, {request.n_rows} were asked for."
            )
        result: TangoResponse = {"model": self.model}
        if request is not None and request.is_file:
            result["file"] = _map_summary(rows[0], request.file_id)
        else:
            result["predictions"] = self._map_rows(rows, explain=request is not None and request.explain)
        if request is None:
            result["warnings"], result["warning_count"] = [], 0
            return result
        result["warnings"] = [warning.to_dict() for warning in request.warnings]
        result["warning_count"] = request.warning_count
        if request.session is not None:
            result["session"] = request.session
        return result

    def _map_rows(self, rows: list[Any], *, explain: bool) -> list[dict[str, Any]]:
        """Predictions in the mapper's words."""
        columns, labels = self._columns, self._labels
        mapped: list[dict[str, Any]] = []
        row: Any = None
        try:
            for row in rows:
                probabilities = {text: row[column] for text, column in columns}
                item = {
                    "prediction": labels[row["prediction"]],
                    "probability": row["probability"],
                    "probabilities": probabilities,
                }
                if not (0 <= min(probabilities.values()) and max(probabilities.values()) <= 1.0000001):
                    raise ModelServerAnswerError(f"Row {len(mapped)}: a probability is not between 0 and 1.")
                if not 0 <= item["probability"] <= 1.0000001:
                    raise ModelServerAnswerError(
                        f"Row {len(mapped)}: the probability is not between 0 and 1."
                    )
                if explain:
                    item["explanation"] = row["explanation"]
                mapped.append(item)
        except (KeyError, TypeError) as error:
            raise ModelServerAnswerError(
                f"Row {len(mapped)} of the model server's answer {self._complaint(row, explain=explain)}. "
                "Does it serve the version whose schema the mapper has?"
            ) from error
        return mapped

    def _complaint(self, row: object, *, explain: bool) -> str:
        """What is wrong with a row that could not be mapped."""
        if not isinstance(row, dict):
            return f"is {shown(row)}, an object expected"
        expected = ["prediction", "probability", *(column for _, column in self._columns)]
        expected += ["explanation"] if explain else []
        missing = [name for name in expected if name not in row]
        if missing:
            return f"lacks {', '.join(missing[:5])}" + (", …" if len(missing) > 5 else "")
        label = row["prediction"]
        if isinstance(label, list | dict | None) or label not in self._labels:
            return f"has a class that the schema does not know, {shown(label)}"
        return "has a probability that is not a number"


def _map_summary(summary: object, file_id: str | None) -> dict[str, Any]:
    """Summary of a file job under the client's name for it."""
    if not isinstance(summary, dict) or "status" not in summary:
        raise ModelServerAnswerError(
            "The model server did not answer with the summary of a file job. "
            "Does it serve a version that was trained with file_management=true?"
        )
    return {**summary, "file_id": file_id}
