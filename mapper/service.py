"""The HTTP service: routes, one log line and one count per request, errors as problems."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from mapper.answer import TangoResponse
from mapper.body import parse_body, read_body
from mapper.docs import docs_page
from mapper.errors import InvalidRequestError, MapperError, ModelServerDownError
from mapper.findings import Finding
from mapper.interfaces import TangoModel
from mapper.metrics import CONTENT_TYPE, Metrics
from mapper.model import TabularModel
from mapper.model_server import ModelServer
from mapper.openapi import openapi_document
from mapper.problem import MEDIA_TYPE, Problem, problem_of, problem_of_status
from mapper.readiness import Readiness
from mapper.registry import PublishedModel
from mapper.request import ModelRequest
from mapper.settings import MapperSettings

__all__ = ["MapperService", "make_app"]

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

THREAD_FROM_BYTES = 256 * 1024  # above this, checking a body would hold up the others noticeably
THREAD_FROM_ROWS = 1000
REQUEST_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE_FILES = {"app.js": "text/javascript", "answer.js": "text/javascript", "style.css": "text/css"}


def make_app(settings: MapperSettings, published: PublishedModel) -> web.Application:
    """The service as an aiohttp application, for one model version."""
    service = MapperService(settings, published)
    app = web.Application(client_max_size=settings.max_body_bytes, middlewares=[service.observe])
    app.add_routes(
        [
            web.post("/v1/predict", service.predict),
            web.post("/v1/explain", service.explain),
            web.get("/v1/schema", service.schema),
            web.get("/healthz", service.healthz),
            web.get("/readyz", service.readyz),
            web.get("/metrics", service.metrics_page),
            web.get("/openapi.json", service.openapi),
            web.get("/docs", service.docs),
            web.get("/", service.page),
            *(web.get(f"/page/{name}", service.page_file) for name in PAGE_FILES),
        ]
    )
    app.on_cleanup.append(service.close)
    return app


class MapperService:
    """Handlers of the routes.

    Parameters
    ----------
    settings : MapperSettings
        What is in force.
    published : PublishedModel
        Schema and version of the model.
    """

    def __init__(self, settings: MapperSettings, published: PublishedModel) -> None:
        self._settings = settings
        self._takes = settings.signature or published.signature
        self._model = TabularModel(published.schema, published.version, settings.max_rows)
        self._explainer = self._model.get_explainer()
        self._metrics = Metrics()
        self._server = ModelServer(settings.model_server_url, settings.limits, self._metrics.model_server)
        self._readiness = Readiness(self._model, self._server, takes_files=self._takes == "file")
        self._version = published.version or "-"
        openapi = openapi_document(self._model, self._takes)
        self._openapi = orjson.dumps(openapi, option=orjson.OPT_INDENT_2)
        self._schema = orjson.dumps(self._model.schema.content, option=orjson.OPT_INDENT_2)

    async def predict(self, request: web.Request) -> web.Response:
        """POST /v1/predict."""
        return await self._map(self._model, request)

    async def explain(self, request: web.Request) -> web.Response:
        """POST /v1/explain."""
        return await self._map(self._explainer, request)

    async def _map(self, model: TangoModel, request: web.Request) -> web.Response:
        """Check, ask the model server, translate its answer."""
        body = await read_body(request, self._settings.max_body_bytes, self._settings.body_timeout_s)
        if len(body) > THREAD_FROM_BYTES:
            mapped = await asyncio.to_thread(self._map_body, model, body)
        else:
            mapped = self._map_body(model, body)
        self._metrics.found(mapped.n_rows, mapped.warning_count)
        answer = await self._server.invoke(mapped, request["id"])

        def translate() -> bytes:
            result: TangoResponse = model.map_response(answer)
            return orjson.dumps(result)

        content = await asyncio.to_thread(translate) if mapped.n_rows > THREAD_FROM_ROWS else translate()
        return web.Response(body=content, headers={"Content-Type": "application/json"})

    def _map_body(self, model: TangoModel, body: bytes) -> ModelRequest:
        content, not_json = parse_body(body)
        self._check_kind(content)
        mapped = model.map_request(content)
        if not_json is not None:
            raise not_json
        assert isinstance(mapped, ModelRequest)
        return mapped

    def _check_kind(self, content: object) -> None:
        """Refuse files for a model that takes rows, and rows for one that takes files."""
        wrong, right = ("file", "data") if self._takes == "rows" else ("data", "file")
        if (
            self._takes
            and isinstance(content, dict)
            and content.get(wrong) is not None
            and right not in content
        ):
            what = {"data": "rows", "file": "files"}
            fault = Finding("bad_request", f"this model takes {what[right]}: send `{right}`", field=wrong)
            raise InvalidRequestError(f"The model takes {what[right]}, not {what[wrong]}.", [fault])

    async def schema(self, _: web.Request) -> web.Response:
        """GET /v1/schema."""
        return web.Response(body=self._schema, content_type="application/json")

    async def healthz(self, _: web.Request) -> web.Response:
        """GET /healthz: the process lives."""
        return web.json_response({"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """GET /readyz: a model server answers as the schema says."""
        try:
            await self._readiness.check()
        except MapperError as error:
            raise ModelServerDownError(f"Not ready. {error}") from error
        return web.json_response({"status": "ready", "model": self._model.answers.model})

    async def metrics_page(self, _: web.Request) -> web.Response:
        """GET /metrics."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: web.Request) -> web.Response:
        """GET /openapi.json."""
        return web.Response(body=self._openapi, content_type="application/json")

    async def docs(self, request: web.Request) -> web.Response:
        """GET /docs: its commands name the service as the reader reached it."""
        url = f"{request.scheme}://{request.host}"
        page = docs_page(self._model, self._settings, self._takes, url)
        return web.Response(text=page, content_type="text/html", headers=SECURITY_HEADERS)

    async def page(self, _: web.Request) -> web.Response:
        """GET /: a page to try the model."""
        return _page_file("index.html", "text/html")

    async def page_file(self, request: web.Request) -> web.Response:
        """GET /page/...: what that page needs."""
        name = request.path.rpartition("/")[2]
        return _page_file(name, PAGE_FILES[name])

    async def close(self, _: web.Application) -> None:
        """End the connections to the model server."""
        self._server.close()

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer errors with problems; give every request an id, a log line and a count."""
        started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request["id"] = request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self._metrics.in_flight.inc()
        outcome = "cancelled"
        status = 499
        try:
            response, outcome = await self._answer(request, handler, request_id)
            status = response.status
            response.headers["X-Request-ID"] = request_id
            return response
        finally:
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - started
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unknown"
            self._metrics.finish(route, status, outcome, seconds)
            logger.info(
                "id=%s route=%s model=%s version=%s duration_ms=%.2f status=%d outcome=%s",
                request_id,
                route,
                self._model.schema.model_name,
                self._version,
                seconds * 1000,
                status,
                outcome,
            )

    async def _answer(
        self, request: web.Request, handler: Handler, request_id: str
    ) -> tuple[web.StreamResponse, str]:
        """The handler's response, or the problem that came instead; and what log and metrics call it."""
        try:
            return await handler(request), "ok"
        except MapperError as error:
            if isinstance(error, InvalidRequestError):
                for fault in error.errors:
                    self._metrics.fault(fault.kind)
            problem = problem_of(error, request_id)
            if problem.status >= 500:
                logger.warning("id=%s %s", request_id, error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            detail = f"{request.method} {request.path[:200]}: {HTTPStatus(error.status).phrase}."
            problem = problem_of_status(error.status, detail, request_id)
            if "Allow" in error.headers:
                problem.headers["Allow"] = error.headers["Allow"]
        except Exception:
            logger.exception("id=%s failed", request_id)
            problem = problem_of_status(500, "The mapper failed; its log says why.", request_id)
        return _problem_response(problem), problem.outcome


def _problem_response(problem: Problem) -> web.Response:
    body = orjson.dumps(problem.document)
    return web.Response(
        status=problem.status, body=body, headers={"Content-Type": MEDIA_TYPE, **problem.headers}
    )


def _page_file(name: str, content_type: str) -> web.Response:
    content: Any = files("mapper").joinpath("page", name).read_bytes()
    return web.Response(body=content, content_type=content_type, charset="utf-8", headers=SECURITY_HEADERS)
