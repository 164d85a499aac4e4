"""The HTTP service: routes, one log line and one count per request, errors as problems."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, cast
from urllib.parse import quote

import orjson

from mapper import errors
from mapper.application.model import tabular_model
from mapper.application.service import Application
from mapper.errors import Finding
from mapper.http.backend import Backend
from mapper.http.body import Answer, Request, check_sendable, parse_body
from mapper.http.connection import ClientGoneError as RequestCutError
from mapper.http.connection import RefusedError
from mapper.http.docs import docs_page
from mapper.http.metrics import CONTENT_TYPE, Metrics
from mapper.http.openapi import openapi_document
from mapper.http.problem import MEDIA_TYPE, PROBLEMS, Problem, forget_frames, problem_of, problem_of_status
from mapper.http.readiness import Readiness
from mapper.http.renderer import compressed, renderer_files, renderer_version
from mapper.http.settings import OPEN, PAGE_PARTS, MapperSettings
from mapper.mapping.interfaces import TangoModel
from mapper.mapping.model import TabularModel
from mapper.mapping.request import ModelRequest
from mapper.model_server.client import Gate, ModelServer
from mapper.registry import PublishedModel

logger = logging.getLogger(__name__)

Handler = Callable[[Request, str], Awaitable[Answer]]

THREAD_FROM_BYTES = 256 * 1024  # above this, checking a body would hold up the others noticeably
THREAD_FROM_ROWS = 1000
REQUEST_ID = re.compile(rb"[\w.:@/+=-]{1,128}")
# What was not read to its end.
REFUSED: dict[int, type[errors.MapperError]] = {
    400: errors.NotHttpError,
    401: errors.NoAccessError,
    408: errors.RequestTimeoutError,
    413: errors.TooLargeError,
    431: errors.HeadTooLargeError,
    503: errors.BusyError,
}
ASKED = (b"/v1/predict", b"/v1/explain")  # what the model server has to answer
HEALTH = "/healthz"
ALIVE = b'{"status":"alive"}'
BUSY = PROBLEMS[errors.BusyError].name
NO_ACCESS = PROBLEMS[errors.NoAccessError].name
PACED = (BUSY, NO_ACCESS)  # outcomes that go out at a pace, and are summed up in the log
THERE = "Send rows to /v1/predict or /v1/explain; /docs describes all there is."
TURNED_AWAY = "Too many open connections. Try again shortly."
ENDING = "The mapper is stopping. Send the request again."
GONE = "The request had to wait, and nothing more could come from its client. Send it again."
CANCELLED = 499  # what nginx logs for a client that has gone; nobody gets to see it
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Its address names the version; not for caches that others share, as it may have taken a token.
KEPT = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
PAGE_FILES = {"/": "index.html", **{f"/page/{name}": name for name in PAGE_PARTS}}


class MapperService:
    """Answers requests for one model version, as an ASGI application.

    Explanations are mapped by the model's explainer, whichever it has when a request comes, and come from a
    server of their own if the settings name one.
    """

    def __init__(
        self,
        settings: MapperSettings,
        published: PublishedModel,
        application: Application | None = None,
        backend: Backend | None = None,
    ) -> None:
        if application is None:
            model = tabular_model(published.schema, published.files, published.version, settings.max_rows)
            application = Application(model)
        self._settings = settings
        self._takes = settings.signature or published.signature or ("rows" if application.is_own else None)
        self._application = application
        self._model = application.model
        backend = backend or Backend(settings, Metrics())
        self._backend = backend
        self._metrics = backend.metrics
        self._server = backend.server
        self._explainer_server = backend.explainer or self._server
        self._readiness = Readiness(
            self._model, self._server, takes_files=self._takes == "file", explainer=backend.explainer
        )
        self.version = published.version
        self.schema_digest = published.schema.digest
        self.following: dict[str, Any] = {}  # what keeps it from following its alias
        self.name = published.schema.model_name
        self.listed: Callable[[], list[dict[str, Any]]] | None = None  # all models, if there may be others
        self._at_work = backend.at_work
        self._pace, self._tally = backend.pace, backend.tally
        self._turned_away = _wire(errors.BusyError(TURNED_AWAY))
        form = application.form
        self._openapi = openapi_document(self._model, self._takes, form)
        outside = self._model.schema.content if form is None else form.document(self._model)
        self._files = {
            "/v1/schema": Answer(orjson.dumps(outside, option=orjson.OPT_INDENT_2)),
            HEALTH: Answer(ALIVE),
            **{path: _page_file(name) for path, name in PAGE_FILES.items()},
        }
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/predict": ("POST", self._predict),
            "/v1/explain": ("POST", self._predict),
            "/v1/models": ("GET", self._models),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._metrics_page),
            "/docs": ("GET", self._docs),
            "/openapi.json": ("GET", self._openapi_page),
            **dict.fromkeys(self._files, ("GET", self._file)),
            **{f"/page/{name}": ("GET", self._renderer_file) for name in renderer_files()},
        }

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request, errors as problems; each is counted and gets a line in the log."""
        started = time.perf_counter()
        request = Request(scope, receive)
        path = request.path
        given = request.headers.get(b"x-request-id")
        request_id = given.decode("ascii") if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        self._metrics.in_flight.inc()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._at_work.add(task)
        status, outcome = CANCELLED, "cancelled"
        try:
            if "fault" in scope and path not in OPEN["health"]:
                answer, outcome = _refused(RefusedError(*scope["fault"]), request_id)
            else:
                answer, outcome = await self._answer(request, request_id)
            status = answer.status
            if outcome in PACED:
                await self._pace.turn()
        except errors.ClientGoneError:
            # If the client only closed its own direction, somebody reads it.
            answer, _ = _answer_of(problem_of(errors.BusyError(GONE), request_id))
        except asyncio.CancelledError:
            answer, outcome = _answer_of(problem_of(errors.BusyError(ENDING), request_id))
            status = answer.status
        finally:
            self._at_work.discard(task)
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - started
            self._count(path, status, outcome, seconds, request_id, scope.get("client_name", ""))
        given_headers = {
            "content-type": answer.media_type,
            "content-length": str(len(answer.body)),
            "x-request-id": request_id,
            **answer.headers,
        }
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given_headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _count(
        self, path: str, status: int, outcome: str, seconds: float, request_id: str, client: str = ""
    ) -> None:
        route = path if path in self._routes else "unknown"
        self._metrics.finish(route, status, outcome, seconds)
        if client:
            self._metrics.client(client)
        if outcome in PACED:
            self._tally.add(f"{route} status={status} outcome={outcome}")
            return
        self._pace.answered()
        logger.info(
            "id=%s route=%s%s model=%s version=%s duration_ms=%.2f status=%d outcome=%s",
            request_id,
            route,
            f" client={client}" if client else "",
            self._model.schema.model_name,
            self.version or "-",
            seconds * 1000,
            status,
            outcome,
        )

    def turned_away(self) -> bytes:
        """What a connection is told for which there is no place; counts it."""
        self._count("", 503, BUSY, 0.0, "")
        return self._turned_away

    @property
    def model(self) -> TabularModel:
        """What maps requests and answers; its `set_explainer` changes who maps explanations."""
        return self._model

    @property
    def described(self) -> dict[str, Any]:
        """What the list of models says of this one."""
        schema, form = self._model.schema, self._application.form
        features = sorted([f.name, f.type, f.nullable] for f in schema.features)
        essence = [schema.target, features if form is None else form.record]
        digest = hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]
        return {
            "name": self.name,
            "path": f"/models/{self.name}",
            "model_name": self._model.answers.model["name"],
            "version": self._model.answers.model["version"],
            "record_digest": digest,
        }

    def close(self) -> None:
        """Answer what is still at work with a 503, and end the connections to the model server."""
        self._backend.close()

    async def _answer(self, request: Request, request_id: str) -> tuple[Answer, str]:
        """The handler's answer, or the problem that came instead; and what log and metrics call it."""
        try:
            method, handler = self._routes.get(request.path, ("", None))
            if handler is None:
                problem = problem_of_status(404, f"Nothing is at {request.path[:80]!r}. {THERE}", request_id)
            elif request.method != method and (request.method != "HEAD" or method != "GET"):
                detail = f"{request.method} given for {request.path}, {method} expected."
                problem = problem_of_status(405, detail, request_id)
                problem.headers["Allow"] = "GET, HEAD" if method == "GET" else method
            else:
                return await handler(request, request_id), "ok"
        except (errors.ClientGoneError, RequestCutError) as error:
            raise errors.ClientGoneError("The client has gone.") from error
        except RefusedError as error:
            return _refused(error, request_id)
        except errors.MapperError as error:
            if isinstance(error, errors.InvalidRequestError):
                for fault in error.errors:
                    self._metrics.fault(fault.kind)
            problem = problem_of(error, request_id)
            if problem.status >= 500 and problem.outcome not in PACED:
                logger.warning("id=%s %s", request_id, error.for_log or error)
            forget_frames(error)
        except Exception as error:
            logger.error("id=%s failed: %s in\n%s", request_id, *_origin_of(error))
            problem = problem_of_status(500, "The mapper failed. Its log says why.", request_id)
            forget_frames(error)
        return _answer_of(problem)

    async def _predict(self, request: Request, request_id: str) -> Answer:
        """POST /v1/predict and /v1/explain: check, ask the model server, translate its answer."""
        explain = request.path == "/v1/explain"
        model = self._application.mapped_by(explain=explain)
        # Who cannot even wait is told so before anything is read or translated.
        kind, server = self._asked(explain)
        if self._takes:
            server.check_place(kind)
        body = await request.decoded_body(self._settings.max_body_bytes)
        if self._takes or b'"file"' not in body:
            server.check_place(kind)
        if len(body) > THREAD_FROM_BYTES:
            mapped = await asyncio.to_thread(self._map_body, model, request, body)
        else:
            mapped = self._map_body(model, request, body)
        self._metrics.found(mapped.n_rows, mapped.warning_count)
        server = self._explainer_server if explain and not mapped.is_file else self._server
        answer = await server.invoke(mapped, request_id, request.is_wanted)
        if server is not self._server:
            answer.version = None  # that of the explainer
        elif answer.version is not None:
            self._backend.answered(answer.version)

        def translate() -> bytes:
            return orjson.dumps(model.map_response(answer))

        translated = await asyncio.to_thread(translate) if mapped.n_rows > THREAD_FROM_ROWS else translate()
        if server is self._server:
            self._readiness.answered()
        return Answer(translated)

    def _asked(self, explain: bool) -> tuple[str, ModelServer]:
        """Kind of a request, as far as its path tells, and who is asked."""
        if self._takes == "file":
            return "file", self._server
        return ("explain", self._explainer_server) if explain else ("predict", self._server)

    def gate_of(self, path: bytes) -> Gate | None:
        """What requests of a path pass on their way to the model server."""
        if path not in ASKED:
            return None
        kind, server = self._asked(path == b"/v1/explain")
        return server.gate(kind)

    def _map_body(self, model: TangoModel, request: Request, body: bytes) -> ModelRequest:
        content, not_json = parse_body(body, self._settings.max_rows)
        self._check_kind(content)
        mapped = model.map_request(content)
        request_of_model = ModelRequest.of(mapped, explain=request.path == "/v1/explain")
        if not_json is not None:
            check_sendable(request_of_model, not_json)
        return request_of_model

    def _check_kind(self, content: object) -> None:
        """Refuse files for a model that takes rows, and rows for one that takes files."""
        if not self._takes or not isinstance(content, dict):
            return
        wrong, right = ("file", "data") if self._takes == "rows" else ("data", "file")
        if content.get(wrong) is not None and right not in content:
            what = {"data": "rows", "file": "files"}
            fault = Finding("bad_request", f"this model takes {what[right]}: send `{right}`", field=wrong)
            raise errors.InvalidRequestError(f"The model takes {what[right]}, not {what[wrong]}.", [fault])

    async def _models(self, request: Request, _: str) -> Answer:
        """GET /v1/models: where the others need a token, a caller without one sees this model only."""
        sees_all = bool(request.client) or not self._settings.token_file
        models = self.listed() if self.listed and sees_all else [self.described]
        return Answer(orjson.dumps({"model": self.name, "models": models}))

    async def _file(self, request: Request, _: str) -> Answer:
        return self._files[request.path]

    async def _renderer_file(self, request: Request, _: str) -> Answer:
        name = request.path.rpartition("/")[2]
        headers = SECURITY_HEADERS | KEPT
        content = renderer_files()[name]
        if "gzip" in request.header(b"accept-encoding"):
            content = await asyncio.to_thread(compressed, name)
            headers["Content-Encoding"] = "gzip"
        return Answer(content, _media_type(name), headers=headers)

    async def _readyz(self, *_: object) -> Answer:
        """GET /readyz: a model server answers as the schema says.

        That a server of explanations is unreachable is told, but predictions go on.
        """
        try:
            await self._readiness.check()
        except errors.MapperError as error:
            for_log = f"Not ready. {error.for_log}" if error.for_log else ""
            raise errors.ModelServerDownError(f"Not ready. {error}").logged_as(for_log) from error
        answer: dict[str, Any] = {"status": "ready", "model": self._model.answers.model}
        if self.following:
            answer["following"] = dict(self.following)
        if self._readiness.explainer_state is not None:
            answer["explainer"] = self._readiness.explainer_state
        return Answer(orjson.dumps(answer))

    async def _openapi_page(self, request: Request, _: str) -> Answer:
        """GET /openapi.json: of a model with a name, it has the address, for clients made from it.

        The address is relative to the document's own: a proxy may have put both into a folder.
        """
        name = request.root_path.rpartition("/")[2]
        servers = {"servers": [{"url": f"../{quote(name)}"}]} if name else {}
        return Answer(orjson.dumps(self._openapi | servers, option=orjson.OPT_INDENT_2))

    async def _metrics_page(self, *_: object) -> Answer:
        return Answer(self._metrics.text(), CONTENT_TYPE)

    async def _docs(self, request: Request, _: str) -> Answer:
        """GET /docs: its commands name the service as the reader reached it."""
        host = request.header(b"host") or f"{self._settings.host}:{self._settings.port}"
        page = docs_page(
            self._model,
            self._settings,
            self._takes,
            f"{request.scheme}://{host}",
            self._application.form,
            renderer_version(),
        )
        return Answer(page.encode(), "text/html; charset=utf-8", headers=SECURITY_HEADERS)


def _wire(error: errors.MapperError) -> bytes:
    """An error as it goes over a connection that is closed then."""
    problem = problem_of(error, "-")
    body = orjson.dumps(problem.document)
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "X-Request-ID": "-"}
    headers |= problem.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = HTTPStatus(problem.status).phrase
    return f"HTTP/1.1 {problem.status} {phrase}\r\n{head}Connection: close\r\n\r\n".encode() + body


def _answer_of(problem: Problem) -> tuple[Answer, str]:
    """The answer that a problem is, and what log and metrics call it."""
    answer = Answer(orjson.dumps(problem.document), MEDIA_TYPE, problem.status, problem.headers)
    return answer, problem.outcome


def _refused(error: RefusedError, request_id: str) -> tuple[Answer, str]:
    if error.status in REFUSED:
        problem = problem_of(REFUSED[error.status](str(error)), request_id)
    else:  # 421, 501, 505
        problem = problem_of_status(error.status, str(error), request_id)
    problem.headers["Connection"] = "close"  # what is still to come of the request is not wanted
    return _answer_of(problem)


def _origin_of(error: BaseException) -> tuple[str, str]:
    """What an unforeseen error is, and where; not its text, which may quote values of rows."""
    return type(error).__name__, "".join(traceback.format_tb(error.__traceback__))


def _page_file(name: str) -> Answer:
    content = files("mapper.http").joinpath("page", name).read_bytes()
    return Answer(content, _media_type(name), headers=SECURITY_HEADERS)


def _media_type(name: str) -> str:
    return f"{MEDIA_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
