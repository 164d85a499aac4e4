"""The lean server: routes, limits and errors around the two protocols, and its processes."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from proto_model.errors import InputError, ProtoModelError
from proto_model.serving.http.access import Access, AccessError
from proto_model.serving.http.body import ENCODINGS, decoded, media_type
from proto_model.serving.http.certificates import Certificates
from proto_model.serving.http.connection import ClientGoneError, Limits, RefusedError, read_body, reserve
from proto_model.serving.http.errors import (
    EncodingError,
    MethodError,
    NotFoundError,
    OverloadError,
    fault,
    forget_frames,
)
from proto_model.serving.http.health import HealthPages, Pulse
from proto_model.serving.http.hosts import Hosts
from proto_model.serving.http.metrics import ROUTES, Metrics
from proto_model.serving.http.payload import JSON
from proto_model.serving.http.refusals import Pace, Tally
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.server import beside, bind, freeze, run, supervise
from proto_model.serving.http.service import Service
from proto_model.serving.http.settings import ServerSettings, ServerSettingsError

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Request = tuple[Any, Callable[[Any], bytes]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
JSON_HEADER = (b"content-type", JSON.encode())
ACCEPT_ENCODING = (b"accept-encoding", ", ".join(ENCODINGS).encode())
# The second name is that of Azure Machine Learning's own servers.
INVOCATIONS = ("/invocations", "/score")
# Answered even when too many connections are open.
HEALTH = ("/ping", "/health", "/v2/health/live", "/v2/health/ready")
# What can be left open where tokens are needed.
OPEN = {"health": HEALTH, "metrics": ("/metrics",), "docs": ("/version", "/v1/schema", "/v2", "/v2/")}
# MLflow's codes of requests that were not read to their end.
REFUSED = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_LIMIT_EXCEEDED",
    421: "BAD_REQUEST",
    431: "BAD_REQUEST",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    505: "BAD_REQUEST",
}
BEARER = (b"www-authenticate", b'Bearer realm="proto_model"')
SUMMED = (401, 503)  # refusals, which get no lines of their own in the log
# A thread that computes lets go of the interpreter after this time; by default a row waits 5 ms for it.
SWITCH_INTERVAL_S = 0.0005


def _both_errors(code: str, text: str) -> bytes:
    """An error in MLflow's words and in those of V2, for a request that was not read."""
    return orjson.dumps({"error_code": code, "message": text, "error": text})


def _turned_away(text: str) -> bytes:
    body = _both_errors(REFUSED[503], text)
    head = f"content-type: {JSON}\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\nconnection: close"
    return f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n\r\n".encode() + body


# What a connection is told for which there is no place: MLflow's words and those of V2.
TURNED_AWAY = _turned_away("Too many open connections. Try again shortly.")


class AddressError(ProtoModelError):
    """The server cannot listen where it was told to."""


class App:
    """Answers HTTP requests with a model."""

    def __init__(self, model: ServedModel, settings: ServerSettings, metrics: Metrics) -> None:
        self.model = model
        self.settings = settings
        self.metrics = metrics
        self._service = Service(model, settings, metrics.set_jobs)
        self._pace, self._tally = Pace(), Tally()
        schema = orjson.dumps(model.schema.to_dict(), option=orjson.OPT_INDENT_2)
        self._pages: dict[str, Callable[[], bytes]] = {
            "/ping": lambda: b"\n",
            "/health": lambda: b"\n",
            "/version": model.mlflow_version.encode,
            "/metrics": metrics.text,
            "/v1/schema": lambda: schema,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begin = time.perf_counter()
        path: str = scope["path"]
        is_v2 = path == "/v2" or path.startswith("/v2/")
        n_rows = 0
        header = JSON_HEADER
        is_last = False
        headers: list[tuple[bytes, bytes]] = []
        try:
            if "fault" in scope and path not in HEALTH:
                raise RefusedError(*scope["fault"])
            if path in INVOCATIONS:
                content, n_rows = await self._invoke(scope, receive)
            elif is_v2:
                content, n_rows = await self._v2(scope, receive, path)
            else:
                content = self._page(scope, path)
                header = TEXT if path == "/metrics" else JSON_HEADER
            status = 200
        except ClientGoneError:
            return
        except RefusedError as error:
            status, code, text = error.status, REFUSED[error.status], str(error)
            content = _both_errors(code, text) if status == 401 else _error(is_v2, code, text)
            is_last = True
        except Exception as error:
            status, code, text = fault(error)
            forget_frames(error)
            content = _error(is_v2, code, text)
            if isinstance(error, OverloadError):
                await self._pace.turn()
            if isinstance(error, EncodingError):
                headers.append(ACCEPT_ENCODING)
        headers += [header, (b"content-length", b"%d" % len(content))]
        if status == 503:
            headers.append((b"retry-after", b"%d" % self._service.retry_after_s))
        elif status == 401:
            headers.append(BEARER)
        elif status == 405:
            headers.append((b"allow", b"POST" if path.endswith((*INVOCATIONS, "/infer")) else b"GET"))
        if is_last:  # what is still to come of the request is not wanted
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        route = "v2" if is_v2 else "invocations" if path in INVOCATIONS else path[1:]
        self._count(route, status, time.perf_counter() - begin, n_rows, scope.get("client_name", ""))

    def turned_away(self) -> bytes:
        """What a connection is told for which there is no place; counts it."""
        self._count("other", 503, 0.0, 0)
        return TURNED_AWAY

    def close(self) -> None:
        """Have what is at work end at its next step, and the threads with it."""
        self._service.close()

    def _count(self, route: str, status: int, seconds: float, n_rows: int, client: str = "") -> None:
        self.metrics.count(route, status, seconds, n_rows)
        if client:
            self.metrics.clients.count(client)
        route = route if route in ROUTES else "other"  # a path may hold anything, line ends included
        if status in SUMMED:
            self._tally.add(f"route={route} status={status}")
            return
        self._pace.answered()
        if self.settings.access_log:
            logger.info(
                "route=%s%s model_name=%s model_version=%s rows=%d status=%d duration_ms=%.3f",
                route,
                f" client={client}" if client else "",
                self.model.schema.model_name,
                self.model.version or "-",
                n_rows,
                status,
                1000 * seconds,
            )

    async def _invoke(self, scope: Scope, receive: Receive) -> tuple[bytes, int]:
        """Answer of `/invocations`, and its number of rows."""
        _require(scope, "POST")
        content_type = _header(scope, b"content-type").decode("latin-1")
        body = await self._body(scope, receive)
        protocol = self._service.invocations

        def read() -> Request:
            return protocol.read(body, content_type), protocol.write

        content: tuple[bytes, int] = await self._service.answer(read, len(body))
        return content

    async def _v2(self, scope: Scope, receive: Receive, path: str) -> tuple[bytes, int]:
        """Answer of a path of the Open Inference Protocol, and its number of rows."""
        protocol = self._service.inference
        page = protocol.page(path)
        if page is not None:
            _require(scope, "GET")
            return orjson.dumps(page), 0
        _require(scope, "POST")
        if _header(scope, b"inference-header-content-length"):
            raise InputError(
                "Binary tensors given; send them as JSON, without Inference-Header-Content-Length."
            )
        body = await self._body(scope, receive)
        media_type(_header(scope, b"content-type").decode("latin-1"), (JSON,))

        def read() -> Request:
            request = protocol.read(body)
            return request.question, partial(protocol.write, request)

        content: tuple[bytes, int] = await self._service.answer(read, len(body))
        return content

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Body of a request as it was before compression."""
        length = _header(scope, b"content-length")
        if len(length) < 10:  # else it is too long
            self._service.check_place(int(length or b"0"))
        body = await read_body(scope, receive, self.settings.max_body_bytes)
        encoding = _header(scope, b"content-encoding").decode("latin-1")
        if encoding:
            body = await asyncio.to_thread(decoded, body, encoding, self.settings.max_body_bytes)
            reserve(scope, len(body))
        return body

    def _page(self, scope: Scope, path: str) -> bytes:
        """Content of a page that is asked for by GET."""
        if path not in self._pages:
            raise NotFoundError(
                f"Nothing is at {path[:80]!r}. There are /invocations, /v2, {', '.join(self._pages)}."
            )
        _require(scope, "GET")
        return self._pages[path]()


def _error(is_v2: bool, code: str, text: str) -> bytes:
    return orjson.dumps({"error": text} if is_v2 else {"error_code": code, "message": text})


def _require(scope: Mapping[str, Any], method: str) -> None:
    given = scope["method"]
    if given != method and not (given == "HEAD" and method == "GET"):
        raise MethodError(f"{given} given, {method} expected.")


def _header(scope: Mapping[str, Any], name: bytes) -> bytes:
    """Value of a header, empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def listen(settings: ServerSettings) -> socket.socket:
    """Socket at the address of the settings, which does not listen yet; raises AddressError."""
    try:
        return bind(settings.host, settings.port, shared=settings.workers > 1)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "the address is in use" if taken else error.strerror or str(error)
        raise AddressError(
            f"Cannot listen on {settings.host}:{settings.port}: {reason}. Choose another port with -p."
        ) from error


def protection_of(settings: ServerSettings) -> tuple[Access | None, Certificates | None]:
    """Tokens and certificates; raises ServerSettingsError if they cannot be used."""
    try:
        return settings.protection.access(OPEN), settings.protection.certificates()
    except AccessError as error:
        raise ServerSettingsError(str(error)) from error


def serve(model: ServedModel, settings: ServerSettings, listener: socket.socket) -> int:
    """Answer until SIGTERM or SIGINT, then finish what was begun; the process's exit code.

    Workers share the memory of the model; `listener` is from `listen`.
    """
    metrics = Metrics(model.schema, model.version, settings.workers)
    hosts = Hosts(settings.host, listener.getsockname()[0], settings.allowed_hosts)
    access, tls = protection_of(settings)
    for warning in (hosts.warning, settings.protection.warning(listener.getsockname()[0])):
        if warning:
            logger.warning(warning)
    limits = Limits(
        settings.max_connections,
        settings.body_timeout_s,
        settings.drain_timeout_s,
        hosts,
        settings.max_bodies_bytes,
        HEALTH,
        access=access,
        tls=tls,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pulse = Pulse(settings.workers)
    pages = HealthPages(pulse, {path: (JSON.encode(), b"\n") for path in HEALTH[:3]}, (HEALTH[3], "/metrics"))
    at = listen(replace(settings, port=settings.health_port)) if settings.health_port else None

    def answer(listener: socket.socket, at: socket.socket | None, supervisor: int | None = None) -> None:
        app = App(model, settings, metrics)
        own = replace(limits, turned_away=app.turned_away, beat=pulse.beat)
        run(app, own, listener, app.close, supervisor, None if at is None else (pages, at))

    if settings.workers == 1:
        answer(listener, at)
        return 0
    freeze()

    def work(worker: int, supervisor: int) -> None:
        metrics.use(worker)
        pulse.use(worker)
        answer(beside(listener), None if at is None else beside(at), supervisor)

    return supervise(work, settings.workers, ended=lambda _: None)
