"""OpenAPI 3.1 of the lean server, for the versions that it serves when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import proto_model
from proto_model.dictionary import Entry
from proto_model.parameters import Parameter, parameters_of
from proto_model.serving.http.errors import STATUS
from proto_model.serving.http.forms import FORMATS
from proto_model.serving.http.models import VERSION_HEADER, Generation, Models
from proto_model.serving.http.payload import CSV, JSON, PARQUET

REFERENCE = "#/components/schemas/"
PAGES = {
    "/ping": "200 while the process is alive",
    "/v1/schema": "The model schema: features, ranges, classes",
    "/v2": "Name, version and extensions of the server",
    "/v2/health/live": "200 while the process is alive",
    "/v2/health/ready": "Versions of all workers, and what keeps a model from following its alias",
    "/v2/repository/index": "Models and versions",
    "/openapi.json": "This service for machines",
}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def openapi_document(models: Models) -> dict[str, Any]:
    """The document as a JSON object; the first model is also at the paths without a name."""
    first = models.first
    paths: dict[str, Any] = {path: {"get": _get(path, text)} for path, text in PAGES.items()}
    paths["/metrics"] = {"get": _get("/metrics", "Counters for Prometheus", "text/plain")}
    paths["/version"] = {"get": _get("/version", "Version of the MLflow that logged the model", "text/plain")}
    paths["/version"]["get"]["responses"]["200"]["content"] = {JSON: {"schema": {}}}
    paths["/ping"]["get"]["responses"]["200"]["content"] = {JSON: {"schema": {}}}
    paths["/invocations"] = {"post": _invocations(first, "invocations")}
    for generation in {one.name: one for one in reversed(models.all)}.values():
        name = generation.name
        operation = f"{name}_invocations"
        paths[f"/models/{name}/invocations"] = {"post": _invocations(generation, operation)}
        paths[f"/models/{name}/{{version}}/invocations"] = {
            "parameters": [_version_parameter(models, name)],
            "post": _invocations(generation, f"{operation}_of_version"),
        }
        paths[f"/v2/models/{name}"] = {"get": _get(f"{name}_metadata", "Columns, and memory of the version")}
        paths[f"/v2/models/{name}/infer"] = {"post": _infer(generation, f"{name}_infer")}
        paths[f"/v2/models/{name}/versions/{{version}}/infer"] = {
            "parameters": [_version_parameter(models, name)],
            "post": _infer(generation, f"{name}_infer_of_version"),
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Proto Model Turbo: lean server",
            "version": proto_model.__version__,
            "description": "MLflow's scoring protocol and the Open Inference Protocol V2.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _components()},
    }


def _get(name: str, text: str, media_type: str = JSON) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "string"} if media_type != JSON else {"type": ["object", "array"]}
    return {
        "operationId": name.strip("/").replace("/", "_").replace(".", "_"),
        "summary": text,
        "responses": {"200": {"description": text, "content": {media_type: {"schema": kind}}}},
    }


def _version_parameter(models: Models, name: str) -> dict[str, Any]:
    known = [text for one in models.all if one.name == name for text in (one.version, one.alias) if text]
    return {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "Version or alias",
        "schema": {"type": "string", **({"examples": known} if known else {})},
    }


def _invocations(generation: Generation, operation: str) -> dict[str, Any]:
    """MLflow's protocol: one of four forms of a table."""
    is_rows = generation.model.files is None
    names = list(generation.service.inference.payload.inputs)
    schema = generation.model.schema
    told = {name: _told(schema.entry(name)) if is_rows else {} for name in names}
    row = {"type": "object", "properties": told}
    split = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}, "examples": [names]},
            "data": {"type": "array", "items": {"type": "array"}},
            "index": {"type": ["array", "null"]},
        },
        "additionalProperties": False,
    }
    table = {"anyOf": [{"type": "array"}, {"type": "object"}]}
    forms = {"dataframe_split": split, "dataframe_records": {"type": "array", "items": row}}
    body = {
        "type": "object",
        "properties": {
            **{form: forms.get(form, table) for form in FORMATS},
            "params": _parameters(generation),
        },
        "oneOf": [{"required": [form]} for form in FORMATS],
    }
    content: dict[str, Any] = {JSON: {"schema": body}}
    if is_rows:
        content |= {CSV: {"schema": {"type": "string"}}, PARQUET: {"schema": {}}}
    answers: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
    if is_rows and (target := _told(schema.entry(schema.target))):
        answers["items"] |= {"properties": {"prediction": target}}
    answer = {"type": "object", "required": ["predictions"], "properties": {"predictions": answers}}
    return {
        "operationId": operation,
        "summary": f"Answers of {generation.name}, a row each",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _answer(answer), **_faults("Fault", STATUS.values())},
    }


def _told(entry: Entry) -> dict[str, Any]:
    """What the data dictionary says of a feature, as JSON Schema has it."""
    parts = {
        "description": entry.description,
        "x-unit": entry.unit,
        "x-decode": dict(entry.decode),
        "x-protected": entry.protected,
    }
    return {key: part for key, part in parts.items() if part}


def _infer(generation: Generation, operation: str) -> dict[str, Any]:
    """V2, as JSON or with raw tensors behind it."""
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": {"$ref": f"{REFERENCE}Tensor"}},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            "parameters": _parameters(generation),
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": generation.name},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"$ref": f"{REFERENCE}Tensor"}},
        },
    }
    return {
        "operationId": operation,
        "summary": f"Answers of {generation.name}, a tensor for each column",
        "requestBody": {"required": True, "content": {JSON: {"schema": request}}},
        "responses": {"200": _answer(answer), **_faults("FaultV2", STATUS.values())},
    }


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    header = {"description": "Version that answered", "schema": {"type": "string"}}
    return {
        "description": "Answers, in the order of the rows",
        "headers": {VERSION_HEADER.decode(): header},
        "content": {JSON: {"schema": schema}},
    }


def _faults(name: str, statuses: Iterable[tuple[int, str]]) -> dict[str, Any]:
    codes = {408, 421, 500, *(status for status, _ in statuses)}
    content = {JSON: {"schema": {"$ref": f"{REFERENCE}{name}"}}}
    return {str(code): {"description": "Says what is wrong", "content": content} for code in sorted(codes)}


def _parameters(generation: Generation) -> dict[str, Any]:
    signature = generation.model.predictor.signature
    return {
        "type": ["object", "null"],
        "properties": {parameter.name: _parameter(parameter) for parameter in parameters_of(signature)},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    item: dict[str, Any] = {"type": _KINDS[parameter.kind]}
    if parameter.choices:
        item["enum"] = list(parameter.choices)
    if parameter.limits is not None and not parameter.is_off_by_default:
        item["minimum"], item["maximum"] = parameter.limits
    schema = {"type": "array", "items": item} if parameter.is_list else item
    default = list(parameter.default) if parameter.is_list else parameter.default
    return {**schema, "description": parameter.help, "default": default}


def _components() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    text = {"type": "string"}
    return {
        "Tensor": tensor,
        "Fault": {
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {"error_code": text, "message": text},
        },
        "FaultV2": {"type": "object", "required": ["error"], "properties": {"error": text}},
    }
