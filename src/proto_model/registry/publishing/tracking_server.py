"""MLflow's tracking server, which refuses to change published versions.

`mlflow server --app-name proto-model-locks`, or `proto-model-locks-auth` to have MLflow's basic-auth as well.

Refused with 403 are: another description or another tag of a published version, another stage, its removal,
that of its registered model (and another name for it), of its run, of its experiment and of its logged model,
and files in place of its own, of its manifest or of its signature. Aliases move, and tags of `tags.is_open`
change. What is changed in the database or in the store of artifacts, past the server, `verify` finds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

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
    _get_tracking_store,
    catch_mlflow_exception,
    get_endpoints,
)
from mlflow.utils.uri import validate_path_is_safe

from proto_model.registry.descriptions import own_description
from proto_model.registry.publishing.registered import FOLDER
from proto_model.registry.publishing.tags import (
    MANIFEST_SHA256,
    PUBLICATION_RUN,
    PUBLISHED_AT,
    is_open,
    is_published,
)
from proto_model.registry.versions import found, versions_of

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.responses import Response as AsgiResponse

    Answer = Callable[[Request], Awaitable[AsgiResponse]]

_ARTIFACTS = re.compile(r"/mlflow-artifacts/(?:artifacts|mpu/(?:create|complete|abort))/(?P<path>.+)")
_MODEL = re.compile(r"m-[0-9a-f]{32}")
_RUN = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UPLOAD = "/mlflow/upload-artifact"
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


def _published(condition: str = "", model: str | None = None) -> Iterator[ModelVersion]:
    """Published versions that a filter finds, of a model or of all."""
    store: Any = _get_model_registry_store()
    return filter(is_published, versions_of(store, model, condition))


def _check(what: str, condition: str = "", model: str | None = None) -> None:
    """Refuse it if there is such a version."""
    for version in _published(condition, model):
        _refuse(version, what)


def _version(message: Any) -> ModelVersion | None:
    """The version of a request, if it is published."""
    version = found(_get_model_registry_store().get_model_version, message.name, message.version)
    return version if version is not None and is_published(version) else None


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
    _check("the removal of its model is", model=message.name)


def _model_renamed(message: Any) -> None:
    _check("another name is", model=message.name)


def _logged_model_removed(message: Any) -> None:
    _check("the removal of its files is", f"source_path = 'models:/{message.model_id}'")


def _run_removed(message: Any) -> None:
    for name in ("run_id", f"tags.`{PUBLICATION_RUN}`"):
        _check("the removal of its run is", f"{name} = '{message.run_id}'")


def _experiment_removed(message: Any) -> None:
    for version in _published(f"tags.`{PUBLISHED_AT}` LIKE '%'"):
        for run_id in filter(None, (version.run_id, version.tags.get(PUBLICATION_RUN))):
            run = found(_get_tracking_store().get_run, run_id)
            if run is not None and run.info.experiment_id == message.experiment_id:
                _refuse(version, "the removal of its experiment is")


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
    tracking.DeleteExperiment: _experiment_removed,
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
    elif request.path.endswith(_UPLOAD):
        run_id, path = (request.args.get(name, "") for name in ("run_uuid", "path"))
        _check_parts([run_id, "artifacts", *_parts(path)], request.method)
    elif request.method not in _READS:
        _check_artifacts(request.path, request.method)
    return None


def _check_artifacts(path: str, method: str) -> None:
    """Raise MlflowException if a request would change the artifacts of a published version."""
    match = _ARTIFACTS.search(path)
    if match is not None:
        _check_parts(_parts(match["path"]), method)


def _parts(path: str) -> list[str]:
    """Folders and file of a path, decoded as often as MLflow does it."""
    decoded: str = validate_path_is_safe(path)  # type: ignore[no-untyped-call]  # MLflow's
    return [part for part in decoded.split("/") if part not in ("", ".")]


def _check_parts(parts: Sequence[str], method: str) -> None:
    models = [part for part in parts if _MODEL.fullmatch(part)]
    runs = [place for place, part in enumerate(parts) if _RUN.fullmatch(part)]
    for model in models:
        _check("another file is", f"source_path = 'models:/{model}'")
    for place in runs:
        inside = parts[place + 2 :]  # after `artifacts`
        if method == "DELETE" and inside[:1] in ([], [FOLDER]):
            _check("the removal of its manifest is", f"tags.`{PUBLICATION_RUN}` = '{parts[place]}'")
        elif inside[:1] == [FOLDER] and _SHA256.fullmatch("".join(inside[1:2])):
            _check("another manifest is", f"tags.`{MANIFEST_SHA256}` = '{inside[1]}'")
    if method == "DELETE" and not models and not runs:  # of a folder above all of them
        _check("the removal of artifacts is", f"tags.`{PUBLISHED_AT}` LIKE '%'")


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
                return JSONResponse(content, error.get_http_status_code())  # type: ignore[no-untyped-call]
        return await answer(received)

    # The last one, which is behind those that ask who it is.
    app.user_middleware.append(Middleware(BaseHTTPMiddleware, dispatch=refuse))
    return app
