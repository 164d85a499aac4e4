"""What a server tells of the model behind it: whether it takes rows or files, and of which columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from proto_model.errors import ArtifactError
from proto_model.invocation.http import RefusedError, endpoint, invoke, told
from proto_model.invocation.rows import Record, record_of_tensors, typical_record
from proto_model.schema import ModelSchema

# A job that has expired: a model for files rejects it without fetching anything.
_EXPIRED = "https://store.invalid/k?X-Amz-Signature=0&X-Amz-Date=20000101T000000Z&X-Amz-Expires=1"
_JOB = {"input_url": _EXPIRED, "output_url": _EXPIRED}


@dataclass(frozen=True)
class Server:
    """A server, and what it has told.

    Parameters
    ----------
    url : str
        Where it listens.
    is_mapper : bool
        Whether it is the mapper, whose requests differ from those of a model server.
    takes_files : bool
        Whether its model takes presigned URLs, rather than rows.
    model_name : str or None
        Name of the model.
    schema : ModelSchema or None
        Columns and classes of the model.
    record : dict or None
        A row that the model takes.
    """

    url: str
    is_mapper: bool = False
    takes_files: bool = False
    model_name: str | None = None
    schema: ModelSchema | None = None
    record: Record | None = None

    @classmethod
    def asked(cls, url: str) -> Server:
        """What the server at a URL tells; MLflow's tells no more than whether its model takes files."""
        schema = _schema(told(endpoint(url, "/v1/schema")))
        record = typical_record(schema) if schema else None
        mapper = _mapper_request(told(endpoint(url, "/openapi.json")))
        name = schema.model_name if schema else None
        if mapper is not None:
            return cls(url, True, "data" not in mapper.parts, name, schema, mapper.example or record)
        for served in [name] if name else _model_names(url):
            metadata = told(endpoint(url, f"/v2/models/{quote(served, safe='')}"))
            tensors = metadata.get("inputs") if isinstance(metadata, dict) else None
            if isinstance(tensors, list) and tensors and all(map(_is_tensor, tensors)):
                takes_files = {"input_url", "output_url"} <= {tensor.get("name") for tensor in tensors}
                record = record or (None if takes_files else record_of_tensors(tensors))
                return cls(url, False, takes_files, served, schema, record)
        return cls(url, False, _takes_jobs(url), None, schema, record)


@dataclass(frozen=True)
class _MapperRequest:
    """What the mapper's OpenAPI document says of a request: `data` or `file`, and an example of `data`."""

    parts: set[str]
    example: Record | None


def _mapper_request(openapi: Any) -> _MapperRequest | None:
    """None if it is not the mapper's document: MLflow's server and MLServer have one as well."""
    try:
        return _described_request(openapi)
    except (AttributeError, KeyError, TypeError):
        return None


def _described_request(openapi: Any) -> _MapperRequest:
    content = openapi["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]
    schemas = openapi["components"]["schemas"]
    described = content["schema"]
    bodies = [
        schemas[body["$ref"].rpartition("/")[2]] if "$ref" in body else body
        for body in described.get("anyOf", [described])
    ]
    examples = [example.get("data") for body in bodies for example in body.get("examples", [])]
    record = next((example for example in examples if isinstance(example, dict)), None)
    return _MapperRequest({name for body in bodies for name in body.get("properties", {})}, record)


def _is_tensor(item: Any) -> bool:
    return isinstance(item, dict) and all(isinstance(item.get(key), str) for key in ("name", "datatype"))


def _schema(content: Any) -> ModelSchema | None:
    if not isinstance(content, Mapping) or "features" not in content:
        return None
    try:
        return ModelSchema.from_dict(dict(content))
    except ArtifactError:  # of a later release
        return None


def _model_names(url: str) -> list[str]:
    """Names of the models of an MLServer; none for other servers."""
    listed = told(endpoint(url, "/v2/repository/index"), {})
    models = listed if isinstance(listed, list) else []
    return [str(model["name"]) for model in models if isinstance(model, dict) and "name" in model]


def _takes_jobs(url: str) -> bool:
    """Whether a job is what the model takes, by what it makes of one that has expired."""
    try:
        answer = invoke(endpoint(url, "/invocations"), {"dataframe_records": [_JOB]}, wait_s=0)
    except RefusedError:
        return False
    rows = answer.get("predictions") if isinstance(answer, dict) else None
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "status" in rows[0]
