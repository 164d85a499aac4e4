"""OpenAPI 3.1 of the service, for the model it serves; the documentation page reads `ROUTES` as well."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from mapper.application.code import Form
from mapper.http.problem import PROBLEMS
from mapper.mapping.answer import ANSWER_FIELDS, LIST_OF_FINDINGS, fields_document
from mapper.mapping.dates import PATTERNS
from mapper.mapping.dictionary import NO_ENTRY
from mapper.mapping.model import TabularModel
from mapper.mapping.parameters import parameters_for
from mapper.mapping.schema import Feature, ModelSchema
from mapper.mapping.values import LARGEST, MISSING_MARKERS, SPACES, number_in


class Route(NamedTuple):
    """A path of the service, and what it gives."""

    method: str
    path: str
    name: str
    text: str
    media_type: str = "application/json"


ROUTES = (
    Route("POST", "/v1/predict", "predict", "A prediction for each row, or for a file"),
    Route(
        "POST", "/v1/explain", "explain", "The same, each with its rule and with changes that would flip it"
    ),
    Route("GET", "/v1/schema", "schema", "The model schema: features, ranges, classes"),
    Route("GET", "/v1/models", "models", "The models that this service knows, and which one answers here"),
    Route("GET", "/healthz", "healthz", "200 while the process is alive"),
    Route("GET", "/readyz", "readyz", "200 while the model server answers and fits the schema, else 503"),
    Route("GET", "/metrics", "metrics", "Counters for Prometheus", "text/plain"),
    Route("GET", "/openapi.json", "openapi", "This service for machines"),
    Route("GET", "/docs", "docs", "Documentation for people", "text/html"),
    Route("GET", "/", "page", "A page to try the model", "text/html"),
)
REFERENCE = "#/components/schemas/"


def openapi_document(model: TabularModel, takes: str | None, form: Form | None = None) -> dict[str, Any]:
    """The document as a JSON object; `takes` is `rows`, `file`, or None to describe both.

    `form` is the outside of an application's own class, if one maps the requests.
    """
    schema = model.schema
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{schema.model_name}: {schema.target}",
            "version": str(model.answers.model["version"] or "unversioned"),
            "description": schema.content.get("text")
            or " ".join(
                [f"{schema.target}: one of {', '.join(schema.class_texts)}.", *schema.target_entry.sentences]
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            route.path: {"post": _post(route, takes)} if route.method == "POST" else {"get": _get(route)}
            for route in ROUTES
        },
        "components": {"schemas": _components(schema, form)},
    }


MODELS = {
    "type": "object",
    "required": ["model", "models"],
    "properties": {
        "model": {"description": "Name of the one that answers at this address.", "type": "string"},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "path", "model_name", "version", "record_digest"],
                "properties": {
                    "name": {"type": "string"},
                    "path": {"description": "Where its routes are: /models/<name>.", "type": "string"},
                    "model_name": {"type": "string"},
                    "version": {"type": ["string", "null"]},
                    "record_digest": {
                        "description": "The same for models that take the same records and predict the same.",
                        "type": "string",
                    },
                },
            },
        },
    },
}


def _get(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "object" if route.media_type == "application/json" else "string"}
    if route.name == "models":
        content = MODELS
    answer = {"description": route.text, "content": {route.media_type: {"schema": content}}}
    unready = {"503": _problem("The model server is not reachable or does not fit the schema.")}
    responses = {"200": answer, **(unready if route.name == "readyz" else {})}
    return {"operationId": route.name, "summary": route.text, "responses": responses}


def _post(route: Route, takes: str | None) -> dict[str, Any]:
    kinds = {"rows": f"{route.name}Rows", "file": f"{route.name}File"}
    bodies = [{"$ref": REFERENCE + kind} for key, kind in kinds.items() if takes in (None, key)]
    problems: dict[str, str] = {}
    for kind in PROBLEMS.values():
        status = str(kind.status)
        problems[status] = f"{problems[status]} {kind.title}." if status in problems else f"{kind.title}."
    answer = {"schema": {"$ref": f"{REFERENCE}Answer"}}
    body = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
    return {
        "operationId": route.name,
        "summary": route.text,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": answer}},
            **{status: _problem(text) for status, text in problems.items()},
        },
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": f"{REFERENCE}Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _components(schema: ModelSchema, form: Form | None) -> dict[str, Any]:
    record = {"$ref": f"{REFERENCE}Record"}
    example = {"data": schema.typical_record if form is None else form.example}
    components = {
        "Record": {
            "type": "object",
            "required": [feature.name for feature in schema.features if not feature.nullable],
            "properties": {feature.name: _value(feature) for feature in schema.features},
            "additionalProperties": False,
            "examples": [schema.typical_record],
        },
        "Table": _table(schema),
        "Data": {
            "anyOf": [
                record,
                {"type": "array", "minItems": 1, "items": record},
                {"$ref": f"{REFERENCE}Table"},
            ]
        },
        "File": FILE,
        "predictRows": _request("data", schema, example, explain=False),
        "explainRows": _request("data", schema, {**example, "parameters": {"effort": "fast"}}, explain=True),
        "predictFile": _request("file", schema, None, explain=False),
        "explainFile": _request("file", schema, None, explain=True),
        "Answer": fields_document(ANSWER_FIELDS, schema),
        "Problem": PROBLEM,
    }
    if form is not None:  # its records go to the class as they are
        rows = {"type": "array", "items": form.answer}
        answer = {**components["Answer"]["properties"], "predictions": rows}
        components["Record"] = form.record
        components["Data"] = {"anyOf": [record, {"type": "array", "items": record}]}
        components["Answer"] = {"type": "object", "properties": answer}
        del components["Table"]
    return components


def _request(
    part: str, schema: ModelSchema, example: dict[str, Any] | None, *, explain: bool
) -> dict[str, Any]:
    taken = parameters_for(explain=explain, is_file=part == "file")
    return {
        "type": "object",
        "required": [part],
        "properties": {
            part: {"$ref": REFERENCE + part.capitalize()},
            "parameters": {
                "type": ["object", "null"],
                "properties": {parameter.name: parameter.document(schema) for parameter in taken},
                "additionalProperties": False,
            },
            "session": {"description": "Comes back with the answer as it is."},
        },
        "additionalProperties": False,
        **({"examples": [example]} if example else {}),
    }


def _table(schema: ModelSchema) -> dict[str, Any]:
    """Columns and rows; the service takes columns in any order, JSON Schema can only say one."""
    values = [_value(feature) for feature in schema.features]
    row = {"type": "array", "prefixItems": values, "minItems": len(values), "maxItems": len(values)}
    return {
        "description": "Many rows, names given once. Columns may be in any order.",
        "type": "object",
        "required": ["columns", "rows"],
        "properties": {
            "columns": {"const": schema.feature_names},
            "rows": {"type": "array", "minItems": 1, "items": row},
        },
        "additionalProperties": False,
    }


# Text that is a number, as far as a pattern can say that it is not too large.
_FRACTION = r"(\.[0-9]*)?|\.[0-9]+"
_DECIMAL = rf"[+-]?([0-9]{{1,38}}{_FRACTION}|([0-9]{{1,9}}{_FRACTION})[eE](-[0-9]+|\+?[0-2]?[0-9]))"
_TEXTS = {
    "double": _DECIMAL,
    "long": r"[+-]?[0-9]{1,38}(\.0*)?",
    "boolean": "true|True|TRUE|false|False|FALSE|[01]",
}


def _trimmed(pattern: str) -> str:
    return f"^[{SPACES}]*({pattern})[{SPACES}]*$"


def _one_of(texts: Iterable[str]) -> str:
    """Pattern of texts, with white space around them."""
    escaped = "|".join(map(re.escape, texts))
    return _trimmed(re.sub(r"\\([ #\-&~])", r"\1", escaped))  # what JavaScript's patterns do not escape


_MISSING = _one_of(MISSING_MARKERS)


def _value(feature: Feature) -> dict[str, Any]:
    """What a feature accepts, and what people are told of it."""
    entry = feature.entry
    told = {"x-unit": entry.unit, "x-decode": dict(entry.decode), "x-protected": entry.protected}
    return _accepted(feature) | {key: part for key, part in told.items() if part}


def _accepted(feature: Feature) -> dict[str, Any]:
    """What the rule book accepts for a feature."""
    missing = [{"type": "null"}, {"type": "string", "pattern": _MISSING}] if feature.nullable else []
    if feature.values != "learned":
        return _own_value(feature, missing)
    if feature.type == "string":
        known = ", ".join(feature.categories[:20]) + (", …" if len(feature.categories) > 20 else "")
        text = {"type": "string"}
        required = [{"enum": list(feature.categories)}, {"type": "string", "not": {"pattern": _MISSING}}]
        return {
            "anyOf": [text, {"type": "null"}] if feature.nullable else required,
            "description": " ".join(
                [
                    *feature.told,
                    f"Known categories: {known}. Others are treated as unknown, with a warning.",
                ]
            ),
            "examples": list(feature.categories[:5]),
        }
    if not feature.takes_numbers:
        return _text_value(feature, missing)
    plain: dict[str, Any] = {"type": "integer" if feature.type == "long" else "number"}
    plain |= {"minimum": -LARGEST, "maximum": LARGEST}
    description = f"Training saw {feature.seen}; other numbers give a warning. Text is read as in CSV."
    if feature.type == "boolean":
        plain, description = {"enum": [True, False, 0, 1]}, "Text is read as in CSV."
    return {
        "anyOf": [plain, {"type": "string", "pattern": _trimmed(_TEXTS[feature.type])}, *missing],
        "description": " ".join([*feature.told, description]),
        "examples": [feature.typical],
    }


def _text_value(feature: Feature, missing: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rule book accepts for a date or a text."""
    if feature.type == "text":
        plain: list[dict[str, Any]] = [{"type": "string"}]
        if not missing:
            plain = [{"type": "string", "not": {"pattern": _MISSING}}]
        known = f"Words that count: {', '.join(feature.terms)}."
    else:
        form = "date" if feature.type == "date" else "date-time"
        pattern = _trimmed(PATTERNS[feature.type])
        # Whoever checks formats still takes the spellings that a format does not know.
        plain = [
            {"type": "string", "format": form, "pattern": pattern},
            {"type": "string", "pattern": pattern},
        ]
        known = f"Training saw {feature.seen}; other dates give a warning."
        known += " A time without an offset is in UTC." if form == "date-time" else ""
    return {
        "anyOf": [*plain, *missing],
        "description": " ".join([*feature.told, known]),
        "examples": [feature.typical],
    }


def _own_value(feature: Feature, missing: list[dict[str, Any]]) -> dict[str, Any]:
    """What is accepted for a field of an application's mapping that has rules of its own."""
    plain: list[dict[str, Any]]
    if feature.type == "string" and feature.values == "closed":
        numbers = [{"type": ["number", "boolean"]}] if any(map(_is_like_json, feature.categories)) else []
        padded = {"type": "string", "pattern": _one_of(feature.categories)}
        plain = [{"enum": list(feature.categories)}, padded, *numbers]
    elif feature.type == "string":
        plain = [{"type": "string"} if missing else {"type": "string", "not": {"pattern": _MISSING}}]
        plain += [{"type": ["number", "boolean"]}] if feature.categories else []
    elif feature.type == "boolean":
        plain = [{"enum": [True, False, 0, 1]}, {"type": "string", "pattern": _trimmed(_TEXTS["boolean"])}]
    else:
        kind = "integer" if feature.type == "long" else "number"
        plain = [{"type": kind, "minimum": feature.minimum, "maximum": feature.maximum}]
        plain += [{"type": "string", "pattern": _trimmed(_TEXTS[feature.type])}]
    # As the mapping has it where the dictionary has nothing to add.
    text = " ".join(feature.told) if feature.entry != NO_ENTRY else feature.text
    own = {"description": text} if text else {}
    return {"anyOf": [*plain, *missing], **own, "examples": [feature.typical]}


def _is_like_json(text: str) -> bool:
    """Whether a number or a truth value may be spelled so."""
    return text in ("true", "false") or number_in(text) is not None


URL = {"type": "string", "format": "uri", "pattern": "^https?://"}
FILE: dict[str, Any] = {
    "description": "A file behind presigned URLs, which the model server reads and writes.",
    "type": "object",
    "required": ["input_url", "output_url"],
    "properties": {
        "input_url": URL,
        "output_url": URL,
        "file_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 256},
    },
    "additionalProperties": False,
}
PROBLEM: dict[str, Any] = {
    "description": "RFC 9457 problem details.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": LIST_OF_FINDINGS,
        "error_count": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
}
