"""The HTTP service: routes, one log line and one count per request, errors as problems."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, cast

import orjson

from mapper.errors import (
    BusyError,
    ClientGoneError,
    Finding,
    HeadTooLargeError,
    InvalidRequestError,
    MapperError,
    ModelServerDownError,
    NotHttpError,
    RequestTimeoutError,
    TooLargeError,
)
from mapper.http.body import Answer, Request, check_media_type, decoded_body, parse_body
from mapper.http.docs import docs_page
from mapper.http.metrics import CONTENT_TYPE, Metrics
from mapper.http.openapi import openapi_document
from mapper.http.problem import MEDIA_TYPE, Problem, problem_of, problem_of_status
from mapper.http.readiness import Readiness
from mapper.http.server import ClientGoneError as RequestCutError
from mapper.http.server import RefusedError
from mapper.http.settings import MapperSettings
from mapper.mapping.answer import TangoResponse
from mapper.mapping.interfaces import TangoModel
from mapper.mapping.model import TabularModel
from mapper.mapping.request import ModelRequest
from mapper.model_server.client import ModelServer
from mapper.registry import PublishedModel

__all__ = ["MapperService"]

logger = logging.getLogger(__name__)

Handler = Callable[[Request, str], Awaitable[Answer]]

THREAD_FROM_BYTES = 256 * 1024  # above this, checking a body would hold up the others noticeably
THREAD_FROM_ROWS = 1000
REQUEST_ID = re.compile(rb"[\w.:@/+=-]{1,128}")
# What was not read to its end.
REFUSED: dict[int, type[MapperError]] = {
    400: NotHttpError,
    408: RequestTimeoutError,
    413: TooLargeError,
    431: HeadTooLargeError,
    503: BusyError,
}
HEALTH = "/healthz"  # answered even when too many connections are open
ENDING = "The mapper is stopping. Send the request again."
CANCELLED = 499  # what nginx logs for a client that has gone; nobody gets to see it
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
HTML = "text/html; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"
PAGE_FILES = {"app.js": SCRIPT, "answer.js": SCRIPT, "style.css": "text/css; charset=utf-8"}


class MapperService:
    """Answers requests for one model version.

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
        self._at_work: set[asyncio.Task[None]] = set()
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/predict": ("POST", self._predict),
            "/v1/explain": ("POST", self._explain),
            "/v1/schema": ("GET", self._schema_file),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._metrics_page),
            "/openapi.json": ("GET", self._openapi_file),
            "/docs": ("GET", self._docs),
            "/": ("GET", self._page),
            **{f"/page/{name}": ("GET", self._page_file) for name in PAGE_FILES},
        }
        openapi = openapi_document(self._model, self._takes)
        self._openapi = orjson.dumps(openapi, option=orjson.OPT_INDENT_2)
        self._schema = orjson.dumps(self._model.schema.content, option=orjson.OPT_INDENT_2)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request, errors as problems; each is counted and gets a line in the log."""
        request = Request(scope, receive)
        path = request.path
        given = request.headers.get(b"x-request-id")
        request_id = given.decode("ascii") if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        self._metrics.in_flight.inc()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._at_work.add(task)
        status, outcome = CANCELLED, "cancelled"
        try:
            if "fault" in scope and path != HEALTH:
                answer, outcome = self._refused(RefusedError(*scope["fault"]), request_id)
            else:
                answer, outcome = await self._answer(path, request, request_id)
            status = answer.status
        except ClientGoneError:
            answer = Answer(b"")  # nobody reads it
        except asyncio.CancelledError:
            answer, outcome = _answer_of(problem_of(BusyError(ENDING), request_id))
            status = answer.status
        finally:
            self._at_work.discard(task)
            self._metrics.in_flight.dec()
            self._count(path, status, outcome, time.perf_counter() - request.started, request_id)
        headers = [
            (b"content-type", answer.media_type.encode("latin-1")),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request_id.encode("ascii")),
        ]
        headers += [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _count(self, path: str, status: int, outcome: str, seconds: float, request_id: str) -> None:
        route = path if path in self._routes else "unknown"
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

    def close(self) -> None:
        """Answer what is still at work with a 503, and end the connections to the model server."""
        for task in self._at_work:
            task.cancel()
        self._server.close()

    async def _answer(self, path: str, request: Request, request_id: str) -> tuple[Answer, str]:
        """The handler's answer, or the problem that came instead; and what log and metrics call it."""
        try:
            method, handler = self._routes.get(path, ("", None))
            if handler is None:
                problem = _http_problem(request, path, 404, request_id)
            elif request.method != method and (request.method != "HEAD" or method != "GET"):
                problem = _http_problem(request, path, 405, request_id)
                problem.headers["Allow"] = "GET, HEAD" if method == "GET" else method
            else:
                return await handler(request, request_id), "ok"
        except (ClientGoneError, RequestCutError) as error:
            raise ClientGoneError("The client has gone.") from error
        except RefusedError as error:
            return self._refused(error, request_id)
        except MapperError as error:
            if isinstance(error, InvalidRequestError):
                for fault in error.errors:
                    self._metrics.fault(fault.kind)
            problem = problem_of(error, request_id)
            if problem.status >= 500:
                logger.warning("id=%s %s", request_id, error)
        except Exception:
            logger.exception("id=%s failed", request_id)
            problem = problem_of_status(500, "The mapper failed. Its log says why.", request_id)
        return _answer_of(problem)

    def _refused(self, error: RefusedError, request_id: str) -> tuple[Answer, str]:
        problem = problem_of(REFUSED[error.status](str(error)), request_id)
        problem.headers["Connection"] = "close"  # what is still to come of the request is not wanted
        return _answer_of(problem)

    async def _predict(self, request: Request, request_id: str) -> Answer:
        """POST /v1/predict."""
        return await self._map(self._model, request, request_id)

    async def _explain(self, request: Request, request_id: str) -> Answer:
        """POST /v1/explain."""
        return await self._map(self._explainer, request, request_id)

    async def _map(self, model: TangoModel, request: Request, request_id: str) -> Answer:
        """Check, ask the model server, translate its answer."""
        body = await request.body(self._settings.max_body_bytes)
        check_media_type(request)
        if len(body) > THREAD_FROM_BYTES or b"content-encoding" in request.headers:
            mapped = await asyncio.to_thread(self._map_body, model, request, body)
        else:
            mapped = self._map_body(model, request, body)
        self._metrics.found(mapped.n_rows, mapped.warning_count)
        answer = await self._server.invoke(mapped, request_id, request.is_wanted)

        def translate() -> bytes:
            result: TangoResponse = model.map_response(answer)
            return orjson.dumps(result)

        return Answer(await asyncio.to_thread(translate) if mapped.n_rows > THREAD_FROM_ROWS else translate())

    def _map_body(self, model: TangoModel, request: Request, body: bytes) -> ModelRequest:
        content, not_json = parse_body(decoded_body(request, body, self._settings.max_body_bytes))
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

    async def _schema_file(self, *_: object) -> Answer:
        """GET /v1/schema."""
        return Answer(self._schema)

    async def _healthz(self, *_: object) -> Answer:
        """GET /healthz: the process lives."""
        return Answer(b'{"status":"alive"}')

    async def _readyz(self, *_: object) -> Answer:
        """GET /readyz: a model server answers as the schema says."""
        try:
            await self._readiness.check()
        except MapperError as error:
            raise ModelServerDownError(f"Not ready. {error}") from error
        return Answer(orjson.dumps({"status": "ready", "model": self._model.answers.model}))

    async def _metrics_page(self, *_: object) -> Answer:
        """GET /metrics."""
        return Answer(self._metrics.text(), CONTENT_TYPE)

    async def _openapi_file(self, *_: object) -> Answer:
        """GET /openapi.json."""
        return Answer(self._openapi)

    async def _docs(self, request: Request, _: str) -> Answer:
        """GET /docs: its commands name the service as the reader reached it."""
        host = request.header(b"host") or f"{self._settings.host}:{self._settings.port}"
        page = docs_page(self._model, self._settings, self._takes, f"http://{host}")
        return Answer(page.encode(), HTML, headers=SECURITY_HEADERS)

    async def _page(self, *_: object) -> Answer:
        """GET /: a page to try the model."""
        return _file("index.html", HTML)

    async def _page_file(self, request: Request, _: str) -> Answer:
        """GET /page/...: what that page needs."""
        name = request.path.rpartition("/")[2]
        return _file(name, PAGE_FILES[name])


def _answer_of(problem: Problem) -> tuple[Answer, str]:
    """The answer that a problem is, and what log and metrics call it."""
    answer = Answer(orjson.dumps(problem.document), MEDIA_TYPE, problem.status, problem.headers)
    return answer, problem.outcome


def _http_problem(request: Request, path: str, status: int, request_id: str) -> Problem:
    detail = f"{request.method} {path[:200]}: {HTTPStatus(status).phrase}."
    return problem_of_status(status, detail, request_id)


def _file(name: str, media_type: str) -> Answer:
    content = files("mapper.http").joinpath("page", name).read_bytes()
    return Answer(content, media_type, headers=SECURITY_HEADERS)
