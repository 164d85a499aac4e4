"""MLflow's tracking server, which refuses to change published versions.

`mlflow server --app-name proto-model-locks`, or `proto-model-locks-auth` to have MLflow's basic-auth as well.

Refused with 403 are: another description or another tag of a published version, another stage, its removal,
that of its registered model (and another name for it), of its run and of its logged model, and files in place
of its own, of its manifest or of its signature. Aliases move, and tags of `tags.is_open` change. What is
changed in the database or in the store of artifacts, past the server, `verify` finds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flask import Flask, Response, request
from mlflow.entities.model_registry import ModelVersion
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2
from mlflow.protos import model_registry_pb2 as registry
from mlflow.protos import service_pb2 as tracking
from mlflow.server import app as flask_app
from mlflow.server.handlers import (
    _get_model_registry_store,
    _get_request_message,
    catch_mlflow_exception,
    get_endpoints,
)

from proto_model.registry.descriptions import own_description
from proto_model.registry.publishing.registered import FOLDER
from proto_model.registry.publishing.tags import MANIFEST_SHA256, PUBLICATION_RUN, PUBLISHED_AT, is_open
from proto_model.registry.versions import found

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.responses import Response as AsgiResponse

    Answer = Callable[[Request], Awaitable[AsgiResponse]]

_ARTIFACTS = re.compile(r"/mlflow-artifacts/(?:artifacts|mpu/(?:create|complete|abort))/(?P<path>.+)")
_MODEL = re.compile(r"m-[0-9a-f]{32}")
_RUN = re.compile(r"[0-9a-f]{32}")
_READS = ("GET", "HEAD", "OPTIONS")


def create_app(app: Flask = flask_app) -> Any:
    """MLflow's application with the locks."""
    from mlflow.server.fastapi_app import create_fastapi_app

    app.before_request(_refuse_changes)
    if os.environ.get(_MLFLOW_SGI_NAME.name) != "uvicorn":
        return app
    return _with_artifacts(create_fastapi_app(app))


def create_auth_app(app: Flask = flask_app) -> Any:
    """MLflow's application with basic-auth, and the locks behind it."""
    from mlflow.server import auth

    secured = auth.create_app(app)
    app.before_request(_refuse_changes)
    return secured if secured is app else _with_artifacts(secured)


def _refuse(version: ModelVersion, what: str) -> None:
    raise MlflowException(
        f"Version {version.version} of {version.name!r} was published at {version.tags[PUBLISHED_AT]}: "
        f"{what} refused. Make a new version.",
        databricks_pb2.PERMISSION_DENIED,
    )


def _published(filter_string: str) -> ModelVersion | None:
    """A published version that a filter finds."""
    store: Any = _get_model_registry_store()
    token = None
    while True:
        page = store.search_model_versions(filter_string, max_results=1000, page_token=token)
        published: list[ModelVersion] = [version for version in page if version.tags.get(PUBLISHED_AT)]
        token = page.token
        if published or not token:
            return published[0] if published else None


def _check(filter_string: str, what: str) -> None:
    version = _published(filter_string)
    if version is not None:
        _refuse(version, what)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _version(message: Any) -> ModelVersion | None:
    """The version of a request, if it is published."""
    version = found(_get_model_registry_store().get_model_version, message.name, message.version)
    return version if version is not None and PUBLISHED_AT in version.tags else None


def _removed(message: Any) -> None:
    if version := _version(message):
        _refuse(version, "its removal is")


def _staged(message: Any) -> None:
    if version := _version(message):
        _refuse(version, "another stage is")


def _described(message: Any) -> None:
    version = _version(message)
    if version and own_description(message.description) != own_description(version.description):
        _refuse(version, "another description is")


def _tagged(message: Any) -> None:
    if not is_open(message.key) and (version := _version(message)):
        _refuse(version, f"another tag {message.key!r} is")


def _model_removed(message: Any) -> None:
    _check(f"name = {_quoted(message.name)}", "the removal of its model is")


def _model_renamed(message: Any) -> None:
    _check(f"name = {_quoted(message.name)}", "another name is")


def _logged_model_removed(message: Any) -> None:
    _check(f"source_path = {_quoted(f'models:/{message.model_id}')}", "the removal of its files is")


def _run_removed(message: Any) -> None:
    _check(f"run_id = {_quoted(message.run_id)}", "the removal of its run is")
    _check(f"tags.`{PUBLICATION_RUN}` = {_quoted(message.run_id)}", "the removal of its run is")


_CHECKS: dict[type, Callable[[Any], None]] = {
    registry.DeleteModelVersion: _removed,
    registry.TransitionModelVersionStage: _staged,
    registry.UpdateModelVersion: _described,
    registry.SetModelVersionTag: _tagged,
    registry.DeleteModelVersionTag: _tagged,
    registry.DeleteRegisteredModel: _model_removed,
    registry.RenameRegisteredModel: _model_renamed,
    tracking.DeleteLoggedModel: _logged_model_removed,
    tracking.DeleteRun: _run_removed,
}
"""Requests that may change a published version, and what looks at each."""


def _routes() -> Iterator[tuple[tuple[str, str], type]]:
    for path, handler, methods in get_endpoints(lambda kind: kind):  # type: ignore[no-untyped-call]  # MLflow's
        if handler in _CHECKS:
            # MLflow's paths are Flask's rules, but for the names in them.
            yield from (((path, method), handler) for method in methods)


_ROUTES = dict(_routes())


@catch_mlflow_exception  # type: ignore[untyped-decorator]  # MLflow's
def _refuse_changes() -> Response | None:
    """Flask's hook before each request: an answer if it is refused."""
    rule = request.url_rule
    kind = None if rule is None else _ROUTES.get((rule.rule, request.method))
    if kind is not None:
        message = _get_request_message(kind())  # type: ignore[no-untyped-call]  # MLflow's
        for name, value in (request.view_args or {}).items():
            setattr(message, name, value)
        _CHECKS[kind](message)
    elif request.method not in _READS:
        _check_artifacts(request.path, request.method)
    return None


def _check_artifacts(path: str, method: str) -> None:
    """Raise MlflowException if a request would change the artifacts of a published version."""
    match = _ARTIFACTS.search(path)
    if match is None:
        return
    parts = [part for part in unquote(match["path"]).split("/") if part]
    models = [part for part in parts if _MODEL.fullmatch(part)]
    runs = [place for place, part in enumerate(parts) if _RUN.fullmatch(part)]
    for model in models:
        _check(f"source_path = {_quoted(f'models:/{model}')}", "another file is")
    for place in runs:
        inside = parts[place + 2 :]  # after `artifacts`
        if method == "DELETE" and inside[:1] in ([], [FOLDER]):
            _check(f"tags.`{PUBLICATION_RUN}` = {_quoted(parts[place])}", "the removal of its manifest is")
        elif inside[:1] == [FOLDER] and len(inside) > 1:
            _check(f"tags.`{MANIFEST_SHA256}` = {_quoted(inside[1])}", "another manifest is")
    if method == "DELETE" and not models and not runs:  # of a folder above all of them
        _check(f"tags.`{PUBLISHED_AT}` LIKE '%'", "the removal of artifacts is")


def _with_artifacts(app: FastAPI) -> FastAPI:
    """The same for files, which Flask does not see here."""
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse

    async def refuse(received: Request, answer: Answer) -> AsgiResponse:
        if received.method not in _READS:
            try:
                await run_in_threadpool(_check_artifacts, received.url.path, received.method)
            except MlflowException as error:
                content = {"error_code": error.error_code, "message": error.message}
                return JSONResponse(content, HTTPStatus.FORBIDDEN)
        return await answer(received)

    # The last one, which is behind those that ask who it is.
    app.user_middleware.append(Middleware(BaseHTTPMiddleware, dispatch=refuse))
    return app
