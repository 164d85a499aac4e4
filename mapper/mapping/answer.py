"""From the model server's answer to what the client gets.

`AnswerMapper` checks an answer's content against the schema and translates it. Its fields stand in one table,
which the OpenAPI document and the documentation page read as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from mapper import errors
from mapper.errors import shown
from mapper.mapping.explanation import EXPLANATION
from mapper.mapping.request import ModelRequest
from mapper.mapping.schema import ModelSchema

Readers = tuple[tuple[str, Callable[[Any], Any]], ...]
Check = Callable[[Any, dict[str, Any]], None]


class TangoResponse(TypedDict, total=False):
    """What a client gets: predictions or a file's summary (`schemas/mapper-response.schema.json`)."""

    model: dict[str, Any]
    predictions: list[dict[str, Any]]
    file: dict[str, Any]
    warnings: list[dict[str, Any]]
    warning_count: int
    session: Any


class ModelAnswer(dict[str, Any]):
    """The model server's JSON answer; without its request, the number of rows cannot be checked.

    `version` is the one that the server names with it.
    """

    __slots__ = ("request", "version")

    def __init__(
        self, content: Mapping[str, Any], request: ModelRequest | None = None, version: str | None = None
    ) -> None:
        super().__init__(content)
        self.request = request
        self.version = version


@dataclass(frozen=True)
class AnswerField:
    """One field of an answer: its key, what it is, and its JSON Schema for a model schema.

    What `reader` gives takes the field from a row of the model server's answer, and raises KeyError,
    TypeError or ValueError if the row does not fit. A field about all rows has none. A model that only
    explains leaves out what is not `by_explainer`.
    """

    name: str
    text: str
    document: Callable[[ModelSchema], dict[str, Any]]
    reader: Callable[[ModelSchema], Callable[[Any], Any]] | None = None
    is_optional: bool = False
    by_explainer: bool = True


LARGEST_SHARE = 1.0000001
SHARE = {"type": "number", "minimum": 0, "maximum": LARGEST_SHARE}
OUTSIDE = "a probability is not between 0 and 1"
ROUNDING = 1e-6  # of a model server that computes in 32 bits
PROBABILITY = "probability_"  # what the columns of classes begin with


def _share(value: Any) -> Any:
    if type(value) is bool:
        raise TypeError
    if not 0 <= value <= LARGEST_SHARE:
        raise ValueError(OUTSIDE)
    return value


def _read_label(schema: ModelSchema) -> Callable[[Any], Any]:
    # 1.0 finds 1, which is how it is sent on; true is no 1.
    labels = {(label, type(label) is bool): label for label in schema.classes}

    def read(row: Any) -> Any:
        label = row["prediction"]
        key = label, type(label) is bool
        if key not in labels:
            raise ValueError(f"the schema has no class {shown(label)}")
        return labels[key]

    return read


def _read_probabilities(schema: ModelSchema) -> Callable[[Any], Any]:
    columns = tuple((text, f"{PROBABILITY}{text}") for text in schema.class_texts)

    def read(row: Any) -> dict[str, Any]:
        probabilities = {text: row[column] for text, column in columns}
        values = probabilities.values()
        if bool in set(map(type, values)):
            raise TypeError
        if not (0 <= min(values) and max(values) <= LARGEST_SHARE):
            raise ValueError(OUTSIDE)
        total = sum(values)
        if not abs(total - 1) <= ROUNDING:  # nor is NaN
            raise ValueError(f"they sum to {total:.6g}, not to 1")
        return probabilities

    return read


def _read_set(schema: ModelSchema) -> Callable[[Any], Any]:
    read_label = _read_label(schema)

    def read(row: Any) -> list[Any]:
        labels = row["prediction_set"]
        if not isinstance(labels, list) or not labels:
            raise TypeError
        return [read_label({"prediction": label}) for label in labels]

    return read


def _read_explanation(row: Any) -> Any:
    explanation = row["explanation"]
    if not isinstance(explanation, dict):
        raise TypeError
    return explanation


def _check_classification(schema: ModelSchema) -> Check:
    """What has to hold among the fields of a row that each can be read; raises ValueError."""
    texts = dict(zip(schema.classes, schema.class_texts, strict=True))
    known = {f"{PROBABILITY}{text}" for text in schema.class_texts}
    n_fields = len(known) + 2  # prediction, probability

    def check(row: Any, item: dict[str, Any]) -> None:
        probabilities = item["probabilities"]
        own, given = probabilities[texts[item["prediction"]]], item["probability"]
        if given != own and not abs(given - own) <= ROUNDING:
            raise ValueError("its probability is not that of the predicted class")
        if len(row) > n_fields:
            unknown = [name for name in row if name.startswith(PROBABILITY) and name not in known]
            if unknown:
                raise ValueError(f"the schema has no class for {shown(unknown[0])}")

    return check


def _no_check(row: Any, item: dict[str, Any]) -> None:
    """An explainer gives one probability, which nothing else in its row can contradict."""


def _probabilities_document(schema: ModelSchema) -> dict[str, Any]:
    texts = list(schema.class_texts)
    properties = dict.fromkeys(texts, SHARE)
    return {"type": "object", "required": texts, "properties": properties, "additionalProperties": False}


def _set_document(schema: ModelSchema) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": {"enum": list(schema.classes)}}


def _rows_document(schema: ModelSchema) -> dict[str, Any]:
    own = schema.content.get("answer")  # of an application's mapping
    return {"type": "array", "items": own or fields_document(ROW_FIELDS[schema.task], schema)}


FINDING = {
    "type": "object",
    "required": ["kind", "message"],
    "properties": {
        "row": {"description": "From 0.", "type": "integer", "minimum": 0},
        "field": {"type": "string"},
        "kind": {"type": "string"},
        "message": {"type": "string"},
    },
    "additionalProperties": False,
}
LIST_OF_FINDINGS = {"type": "array", "items": FINDING}
MODEL = {
    "type": "object",
    "required": ["name", "version"],
    "properties": {"name": {"type": "string"}, "version": {"type": ["string", "null"]}},
}
SUMMARY = {"type": "object", "required": ["file_id", "status"]}
SET = "the classes that the row may have, with the probability that `coverage` asked for"
WHY = "why, and what would change it (schemas/explanation.schema.json); from /v1/explain only"

F, OPTIONAL = AnswerField, True
#: Fields of each row's answer, by the task of the model. To add one, add a line.
ROW_FIELDS: dict[str, tuple[AnswerField, ...]] = {
    "classification": (
        F(
            "prediction",
            "the class that the model decides for",
            lambda s: {"enum": list(s.classes)},
            _read_label,
        ),
        F(
            "probability",
            "how probable that class is",
            lambda _: SHARE,
            lambda _: lambda row: _share(row["probability"]),
        ),
        F(
            "probabilities",
            "the probability of each class, unless the model only explains",
            _probabilities_document,
            _read_probabilities,
            by_explainer=False,
        ),
        F("prediction_set", SET, _set_document, _read_set, OPTIONAL),
        F("explanation", WHY, lambda _: EXPLANATION, lambda _: _read_explanation, OPTIONAL),
    ),
}
#: What must hold among the fields of a row, by the task of the model.
ROW_CHECKS: dict[str, Callable[[ModelSchema], Check]] = {"classification": _check_classification}
#: Fields of every answer.
ANSWER_FIELDS: tuple[AnswerField, ...] = (
    F("model", "name and version of the model", lambda _: MODEL),
    F("predictions", "an item for each row, in the order of the rows", _rows_document, None, OPTIONAL),
    F("file", "the summary of a file job", lambda _: SUMMARY, None, OPTIONAL),
    F("warnings", "the first 20 values that training never saw", lambda _: LIST_OF_FINDINGS),
    F("warning_count", "how many warnings there are", lambda _: {"type": "integer", "minimum": 0}),
    F("session", "what the request held as `session`", lambda _: {}, None, OPTIONAL),
)


def fields_document(fields: Sequence[AnswerField], schema: ModelSchema) -> dict[str, Any]:
    """JSON Schema of an object with these fields."""
    return {
        "type": "object",
        "required": [field.name for field in fields if field.by_explainer and not field.is_optional],
        "properties": {
            field.name: {**field.document(schema), "description": f"{field.text[0].upper()}{field.text[1:]}."}
            for field in fields
        },
        "additionalProperties": False,
    }


class AnswerMapper:
    """Checks and translates the model server's answers for one model version."""

    def __init__(self, schema: ModelSchema, version: str | None = None) -> None:
        fields = [(field, field.reader(schema)) for field in ROW_FIELDS[schema.task] if field.reader]
        #: What reads a row, by the optional fields that were asked for, and whether an explainer answers.
        self._readers: dict[tuple[frozenset[str], bool], Readers] = {
            (frozenset(asked), by_explainer): tuple(
                (field.name, read)
                for field, read in fields
                if (field.name in asked or not field.is_optional) and (field.by_explainer or not by_explainer)
            )
            for asked in ((), ("explanation",), ("prediction_set",), ("explanation", "prediction_set"))
            for by_explainer in (False, True)
        }
        self._check = ROW_CHECKS[schema.task](schema)
        self.model: dict[str, Any] = {"name": schema.model_name, "version": version}

    def map(
        self, answer: Mapping[str, Any], request: ModelRequest | None, *, explain: bool = False
    ) -> TangoResponse:
        """What the client gets; raises ModelServerAnswerError if it does not fit schema or request.

        Without the request, the answer itself shows whether it is a file's summary or is explained; with
        `explain` it has to be one of them.
        """
        rows = answer.get("predictions") if isinstance(answer, (dict, Mapping)) else None
        if not isinstance(rows, list):
            raise errors.ModelServerAnswerError("The model server's answer has no list of predictions.")
        first = rows[0] if rows and isinstance(rows[0], dict) else {}
        if request is not None and len(rows) != request.n_rows:
            raise errors.ModelServerAnswerError(
                f"The model server answered {len(rows)} rows instead of {request.n_rows}."
            )
        version = getattr(answer, "version", None) or self.model["version"]
        result: TangoResponse = {"model": {**self.model, "version": version}}
        if request is not None and request.is_file:
            result["file"] = _map_summary(rows[0], request.file_id)
        elif request is None and "status" in first and "prediction" not in first:
            result["file"] = _map_summary(first, first.get("file_id"))
        else:
            asked = _asked(first, request) | ({"explanation"} if explain else set())
            by_explainer = "explanation" in first and not any(name.startswith(PROBABILITY) for name in first)
            readers = self._readers[asked, by_explainer]
            result["predictions"] = _map_rows(rows, readers, _no_check if by_explainer else self._check)
        if request is None:
            result["warnings"], result["warning_count"] = [], 0
            return result
        result["warnings"] = [warning.to_dict() for warning in request.warnings]
        result["warning_count"] = request.warning_count
        if request.session is not None:
            result["session"] = request.session
        return result


def _asked(first: Mapping[str, Any], request: ModelRequest | None) -> frozenset[str]:
    """Optional fields that a request asked for; without it, those that the first row has."""
    if request is None:
        return frozenset(name for name in ("explanation", "prediction_set") if name in first)
    has_set = "coverage" in (request.get("params") or {})
    named = {"explanation": request.explain, "prediction_set": has_set}
    return frozenset(name for name, is_asked in named.items() if is_asked)


def _map_rows(rows: list[Any], readers: Readers, check: Check) -> list[dict[str, Any]]:
    """Predictions in the mapper's words."""
    mapped: list[dict[str, Any]] = []
    name, row = "", None
    try:
        for row in rows:
            item = {}
            for name, read in readers:
                item[name] = read(row)
            name = ""
            check(row, item)
            mapped.append(item)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it is {shown(row)}, not an object"
        if isinstance(row, dict):
            reason = f"its {name} cannot be read: {_reason(error)}" if name else str(error)
        begin = f"Row {len(mapped)} of the model server's answer does not fit the schema"
        end = "Does it serve the version whose schema the mapper has?"
        for_log = f"{begin}: its {name}. {end}" if name else f"{begin}. {end}"
        raise errors.ModelServerAnswerError(f"{begin}: {reason}. {end}").logged_as(for_log) from error
    return mapped


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{shown(error.args[0])} is missing"
    return "a value has the wrong type" if isinstance(error, TypeError) else str(error)


def _map_summary(summary: object, file_id: str | None) -> dict[str, Any]:
    """Summary of a file job under the client's name for it."""
    if not isinstance(summary, dict) or "status" not in summary:
        raise errors.ModelServerAnswerError(
            "The model server did not answer with the summary of a file job. "
            "Does it serve a version that was trained with file_management=true?"
        )
    return {**summary, "file_id": file_id}
