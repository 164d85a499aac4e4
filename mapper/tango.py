"""The two payloads that register a model on the TANGO platform: the deployment, and the model in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict
from urllib.parse import urlsplit

from mapper.application.model import tabular_model
from mapper.application.service import Application
from mapper.errors import SettingsError
from mapper.http.openapi import REFERENCE, openapi_document
from mapper.model_server.proxy import ModelServerProxy, shown_url
from mapper.registry import MlflowRegistryConnector, PublishedModel, check_registry_url, shown_registry
from mapper.registry.sqlite_store import sqlite_file

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class DeploymentPayload(TypedDict):
    """What the platform needs to know of a registry and of a model server."""

    deployment_key: str
    registry_connector_class: str
    registry_connector_init: dict[str, str]
    server_proxy_class: str
    server_proxy_init: dict[str, str]


class ModelPayload(TypedDict):
    """What the platform needs to know of a version; an explainer is described in the same way."""

    model_code: str
    version: str
    name: str
    description: str
    workspace: str
    realtime_execution: bool
    allow_download: bool
    need_context: bool
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    explainer: ModelPayload | None


@dataclass(frozen=True)
class ModelFacts:
    """What a payload says that no schema knows; empty texts stand for what the schema suggests."""

    model_code: str = ""
    name: str = ""
    description: str = ""
    workspace: str = "default_workspace"
    realtime_execution: bool | None = None
    allow_download: bool = False
    need_context: bool = False


def class_name(kind: type) -> str:
    """Name under which the platform imports a class of this package."""
    return f"mapper.{kind.__name__}"


def has_login(url: str) -> bool:
    """Whether a URL holds a user name or a password, which have no place in a payload."""
    return "@" in urlsplit(url).netloc


def deployment_payload(deployment_key: str, registry_url: str, server_url: str) -> DeploymentPayload:
    """Payload of a deployment, without user names and passwords; raises SettingsError if a URL is invalid.

    A store on this machine is named by its whole path.

    Examples
    --------
    >>> payload = deployment_payload("staging", "http://mlflow:5000", "http://models:5001")
    >>> payload["server_proxy_class"], payload["server_proxy_init"]
    ('mapper.ModelServerProxy', {'server_proxy_url': 'http://models:5001'})
    """
    if not deployment_key.strip():
        raise SettingsError("The key of the deployment is empty. Give --key.")
    check_registry_url(registry_url)
    if registry_url.startswith("sqlite"):
        registry_url = f"sqlite:///{sqlite_file(registry_url).absolute()}"
    return {
        "deployment_key": deployment_key,
        "registry_connector_class": class_name(MlflowRegistryConnector),
        "registry_connector_init": {"model_registry_url": shown_registry(registry_url)},
        "server_proxy_class": class_name(ModelServerProxy),
        "server_proxy_init": {"server_proxy_url": shown_url(server_url)},
    }


def model_payload(
    published: PublishedModel,
    facts: ModelFacts,
    explainer: ModelPayload | None = None,
    application: Application | None = None,
) -> ModelPayload:
    """Payload of a version, in the words of its application; raises SettingsError if it has no number.

    By default, that is the `mapping.yaml` among the version's files, or the model as it is.
    """
    if not published.version:
        raise SettingsError("The model has no version number. Give --version, or a model in the registry.")
    application = application or Application(
        tabular_model(published.schema, published.files, published.version)
    )
    schema, takes_files = application.model.schema, published.signature == "file"
    model_code = facts.model_code or published.name or schema.model_name
    verb = "Explains predictions of" if published.explains else "Predicts"
    realtime = not takes_files if facts.realtime_execution is None else facts.realtime_execution
    return {
        "model_code": model_code,
        "version": published.version,
        "name": facts.name or model_code,
        "description": facts.description
        or schema.content.get("text")
        or f"{verb} {schema.target}: one of {', '.join(schema.class_texts)}.",
        "workspace": facts.workspace,
        "realtime_execution": realtime,
        "allow_download": facts.allow_download,
        "need_context": facts.need_context,
        "input_schema": request_schema(published, application),
        "output_schema": answer_schema(published, application),
        "explainer": explainer,
    }


def request_schema(published: PublishedModel, application: Application) -> dict[str, Any]:
    """JSON Schema of the requests that `map_request` takes for a version."""
    document = _document(published, application)
    path = document["paths"]["/v1/explain" if published.explains else "/v1/predict"]
    return _standalone(path["post"]["requestBody"]["content"]["application/json"]["schema"], document)


def answer_schema(published: PublishedModel, application: Application) -> dict[str, Any]:
    """JSON Schema of the answers that `map_response` gives for a version."""
    return _standalone({"$ref": f"{REFERENCE}Answer"}, _document(published, application))


def _document(published: PublishedModel, application: Application) -> dict[str, Any]:
    takes = published.signature or ("rows" if application.is_own else None)
    return openapi_document(application.model, takes, application.form)


def _standalone(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A schema of an OpenAPI document, with all that it refers to, as a JSON Schema of its own."""
    definitions: dict[str, Any] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if not isinstance(value, dict):
            return value
        reference = value.get("$ref")
        if not isinstance(reference, str) or not reference.startswith(REFERENCE):
            return {key: moved(item) for key, item in value.items()}
        name = reference.removeprefix(REFERENCE)
        if name not in definitions:
            definitions[name] = {}  # it may refer to itself
            definitions[name] = moved(document["components"]["schemas"][name])
        return {"$ref": f"#/$defs/{name}"}

    return {"$schema": DRAFT, **moved(schema), "$defs": definitions}
