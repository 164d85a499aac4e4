"""OpenAPI 3.1 of the service, with the features, ranges and classes of the model it serves."""

from __future__ import annotations

from typing import Any

from mapper.mapping.model import TabularModel
from mapper.mapping.parameters import EFFORTS, ENGINES, FILE_FORMATS, MAX_COUNTERFACTUALS, ON_BAD_ROW
from mapper.mapping.schema import Feature, ModelSchema

__all__ = ["openapi_document"]

JSON_TYPES = {"double": "number", "long": "integer", "boolean": "boolean", "string": "string"}
PROBLEMS = {
    "400": "The body is not JSON, or empty; or the request is not HTTP.",
    "408": "The request came too slowly.",
    "413": "Too many bytes or rows.",
    "415": "Not application/json, or compressed otherwise than by gzip or deflate.",
    "422": "The request does not fit the model; every fault is listed.",
    "431": "The headers are too large.",
    "502": "The model server answered wrongly.",
    "503": "The model server is away, or too many requests wait; see Retry-After.",
    "504": "The model server took too long.",
}


def openapi_document(model: TabularModel, takes: str | None) -> dict[str, Any]:
    """The document as a JSON object.

    Parameters
    ----------
    model : TabularModel
        Of the version that is served.
    takes : {"rows", "file"} or None
        What the model takes; None when that is not known, and both are described.
    """
    schema = model.schema
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{schema.model_name}: {schema.target}",
            "version": str(model.answers.model["version"] or "unversioned"),
            "description": f"{schema.target}: one of {', '.join(schema.class_texts)}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(takes),
        "components": {"schemas": _components(schema)},
    }


def _paths(takes: str | None) -> dict[str, Any]:
    posts = {"predict": "Predict", "explain": "Predict and explain"}
    paths: dict[str, Any] = {
        f"/v1/{name}": {"post": _post(name, text, takes)} for name, text in posts.items()
    }
    gets = {
        "/v1/schema": ("schema", "The model schema", "application/json"),
        "/healthz": ("healthz", "The mapper is alive", "application/json"),
        "/readyz": ("readyz", "A model that fits the schema answers", "application/json"),
        "/metrics": ("metrics", "Counters for Prometheus", "text/plain"),
        "/openapi.json": ("openapi", "This document", "application/json"),
        "/docs": ("docs", "Documentation for people", "text/html"),
        "/": ("page", "A page to try the model", "text/html"),
    }
    for path, (name, text, media_type) in gets.items():
        kind = "object" if media_type == "application/json" else "string"
        answer = {"description": text, "content": {media_type: {"schema": {"type": kind}}}}
        paths[path] = {"get": {"operationId": name, "summary": text, "responses": {"200": answer}}}
    paths["/readyz"]["get"]["responses"]["503"] = _problem("The model server is away or does not fit.")
    return paths


def _post(name: str, text: str, takes: str | None) -> dict[str, Any]:
    kinds = {"rows": f"{name}Rows", "file": f"{name}File"}
    bodies = [{"$ref": f"#/components/schemas/{kind}"} for key, kind in kinds.items() if takes in (None, key)]
    answer = {"$ref": "#/components/schemas/Answer"}
    return {
        "operationId": name,
        "summary": text,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}},
        },
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}},
            **{status: _problem(description) for status, description in PROBLEMS.items()},
        },
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _components(schema: ModelSchema) -> dict[str, Any]:
    explain = _explain_options(schema)
    file_options = _file_options()
    return {
        "Record": _record(schema),
        "Table": _table(schema),
        "Data": {
            "anyOf": [
                {"$ref": "#/components/schemas/Record"},
                {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Record"}},
                {"$ref": "#/components/schemas/Table"},
            ]
        },
        "File": {
            "description": "A file behind presigned URLs; it is read and written by the model server.",
            "type": "object",
            "required": ["input_url", "output_url"],
            "properties": {
                "input_url": {"type": "string", "format": "uri", "pattern": "^https?://"},
                "output_url": {"type": "string", "format": "uri", "pattern": "^https?://"},
                "file_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 256},
            },
            "additionalProperties": False,
        },
        "predictRows": _request("data", "Data", {}, {"data": schema.typical_record}),
        "explainRows": _request(
            "data", "Data", explain, {"data": schema.typical_record, "parameters": {"effort": "fast"}}
        ),
        "predictFile": _request("file", "File", file_options, None),
        "explainFile": _request("file", "File", {**explain, **file_options}, None),
        "Answer": _answer(schema),
        "Problem": PROBLEM,
    }


def _request(
    part: str, schema: str, options: dict[str, Any], example: dict[str, Any] | None
) -> dict[str, Any]:
    parameters = {"type": ["object", "null"], "properties": options, "additionalProperties": False}
    return {
        "type": "object",
        "required": [part],
        "properties": {
            part: {"$ref": f"#/components/schemas/{schema}"},
            "parameters": parameters,
            "session": {"description": "Comes back with the answer as it is."},
        },
        "additionalProperties": False,
        **({"examples": [example]} if example else {}),
    }


def _record(schema: ModelSchema) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [feature.name for feature in schema.features if not feature.nullable],
        "properties": {feature.name: _value(feature) for feature in schema.features},
        "additionalProperties": False,
        "examples": [schema.typical_record],
    }


def _table(schema: ModelSchema) -> dict[str, Any]:
    """Columns and rows; the service takes columns in any order, JSON Schema can only say one."""
    return {
        "description": "Many rows, names given once. Any order of columns is taken.",
        "type": "object",
        "required": ["columns", "rows"],
        "properties": {
            "columns": {"const": schema.feature_names},
            "rows": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "array",
                    "prefixItems": [_value(feature) for feature in schema.features],
                    "minItems": len(schema.features),
                    "maxItems": len(schema.features),
                },
            },
        },
        "additionalProperties": False,
    }


def _value(feature: Feature) -> dict[str, Any]:
    kind = JSON_TYPES[feature.type]
    value: dict[str, Any] = {"type": [kind, "null"] if feature.nullable else kind}
    if feature.type == "string":
        known = ", ".join(feature.categories[:20]) + (", …" if len(feature.categories) > 20 else "")
        value["description"] = f"Known categories: {known}. Others are taken as unknown, with a warning."
        value["examples"] = list(feature.categories[:5])
    else:
        if feature.type != "boolean":
            value["description"] = (
                f"Training saw {feature.minimum:.10g} to {feature.maximum:.10g}; others give a warning."
            )
        value["examples"] = [feature.typical]
    return value


def _explain_options(schema: ModelSchema) -> dict[str, Any]:
    names = {"type": "array", "items": {"enum": schema.feature_names}}
    ordered = [feature.name for feature in schema.features if feature.type != "string"]
    ordered_names = (
        {"type": "array", "items": {"enum": ordered}} if ordered else {"type": "array", "maxItems": 0}
    )
    return {
        "engine": {"enum": list(ENGINES), "default": ENGINES[0]},
        "effort": {"enum": list(EFFORTS), "default": EFFORTS[0]},
        "seed": {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1, "default": 0},
        "max_counterfactuals": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_COUNTERFACTUALS,
            "default": 3,
        },
        "immutable_features": {**names, "description": "What a counterfactual may not change."},
        "increase_only": {**ordered_names, "description": "What a counterfactual may only increase."},
        "decrease_only": {**ordered_names, "description": "What a counterfactual may only decrease."},
    }


def _file_options() -> dict[str, Any]:
    return {
        "input_format": {"enum": list(FILE_FORMATS), "description": "Found out when not given."},
        "output_format": {"enum": list(FILE_FORMATS), "description": "The input's when not given."},
        "passthrough": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "uniqueItems": True,
            "description": "Columns to copy to the output.",
        },
        "on_bad_row": {"enum": list(ON_BAD_ROW), "default": ON_BAD_ROW[0]},
    }


def _answer(schema: ModelSchema) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1.0000001}
    prediction = {
        "type": "object",
        "required": ["prediction", "probability", "probabilities"],
        "properties": {
            "prediction": {"enum": list(schema.classes)},
            "probability": share,
            "probabilities": {
                "type": "object",
                "required": list(schema.class_texts),
                "properties": dict.fromkeys(schema.class_texts, share),
                "additionalProperties": False,
            },
            "explanation": {"type": "object", "description": "schemas/explanation.schema.json"},
        },
        "additionalProperties": False,
    }
    warning = {"$ref": "#/components/schemas/Problem/$defs/finding"}
    return {
        "type": "object",
        "required": ["model", "warnings", "warning_count"],
        "properties": {
            "model": {
                "type": "object",
                "required": ["name", "version"],
                "properties": {"name": {"type": "string"}, "version": {"type": ["string", "null"]}},
            },
            "predictions": {"type": "array", "items": prediction},
            "file": {"type": "object", "required": ["file_id", "status"]},
            "warnings": {"type": "array", "items": warning},
            "warning_count": {"type": "integer", "minimum": 0},
            "session": {},
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
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Problem/$defs/finding"}},
        "error_count": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
    "$defs": {
        "finding": {
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
    },
}
