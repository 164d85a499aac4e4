"""The lean server: routes, limits and errors around the two protocols, and its processes."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import orjson

from proto_model.addresses import MAX_PORT, AddressError, refused_address
from proto_model.serving.http.access import Access, AccessError
from proto_model.serving.http.binary import LENGTH_HEADER, OCTETS
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
from proto_model.serving.http.following import Following
from proto_model.serving.http.health import HealthPages, Pulse
from proto_model.serving.http.hosting import Hosted, Hosting
from proto_model.serving.http.hosts import Hosts
from proto_model.serving.http.metrics import ROUTES, Metrics
from proto_model.serving.http.models import Generation, Models
from proto_model.serving.http.payload import JSON
from proto_model.serving.http.refusals import Pace, Tally
from proto_model.serving.http.server import beside, bind, freeze, run, supervise
from proto_model.serving.http.settings import ServerSettings, ServerSettingsError
from proto_model.serving.http.v2 import INDEX, Paths

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Request = tuple[Any, Callable[[Any], Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
JSON_HEADER = (b"content-type", JSON.encode())
OCTETS_HEADER = (b"content-type", OCTETS.encode())
ACCEPT_ENCODING = (b"accept-encoding", ", ".join(ENCODINGS).encode())
# The second name is that of Azure Machine Learning's own servers.
INVOCATIONS = ("/invocations", "/score")
# What a model has below its name, and below its version or alias.
NAMED = "/models/"
BELOW_MODELS = {path: path for path in (*INVOCATIONS, "/ping", "/version")} | {"/schema": "/v1/schema"}
# Answered even when too many connections are open.
HEALTH = ("/ping", "/health", "/v2/health/live", "/v2/health/ready")
# What can be left open where tokens are needed.
OPEN = {
    "health": HEALTH,
    "metrics": ("/metrics",),
    "docs": ("/version", "/v1/schema", "/openapi.json", "/v2", "/v2/"),
}
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


class App:
    """Answers HTTP requests with the models of one worker."""

    def __init__(self, hosted: Hosted, metrics: Metrics) -> None:
        self.models = hosted.models
        self.settings = hosted.hosting.settings
        self.metrics = metrics
        self._pace, self._tally = Pace(), Tally()
        self._paths = Paths(hosted.models, hosted.ready)
        self._pages: dict[str, Callable[[Generation], bytes]] = {
            "/ping": lambda first: b"\n",
            "/health": lambda first: b"\n",
            "/version": lambda first: first.model.mlflow_version.encode(),
            "/metrics": lambda first: metrics.text(hosted.lines),
            "/v1/schema": lambda first: first.schema_page,
            "/openapi.json": lambda first: _openapi(hosted.models),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, from its first byte to its last with one generation of one model."""
        begin = time.perf_counter()
        path: str = scope["path"]
        is_v2 = path == "/v2" or path.startswith("/v2/")
        n_rows = 0
        is_last = False
        generation = self.models.first
        headers = [JSON_HEADER]
        page: Any = None
        try:
            if "fault" in scope and path not in HEALTH:
                raise RefusedError(*scope["fault"])
            if is_v2:
                generation, page = self._paths.find(path)
            elif path.startswith(NAMED):
                generation, path = self._named(path)
            headers += generation.headers
            if path in INVOCATIONS:
                content, n_rows = await self._invoke(scope, receive, generation)
            elif is_v2 and page is None:
                content, n_rows = await self._infer(scope, receive, generation, headers)
            elif is_v2:
                _require(scope, "GET", *(("POST",) if path == INDEX else ()))
                content = orjson.dumps(page)
            else:
                content = self._page(scope, path, generation)
                headers[0] = TEXT if path == "/metrics" else JSON_HEADER
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
        headers.append((b"content-length", b"%d" % len(content)))
        if status == 503:
            headers.append((b"retry-after", b"%d" % generation.service.retry_after_s))
        elif status == 401:
            headers.append(BEARER)
        elif status == 405:
            headers.append((b"allow", b"POST" if path.endswith((*INVOCATIONS, "/infer")) else b"GET"))
        if is_last:  # what is still to come of the request is not wanted
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        route = "v2" if is_v2 else "invocations" if path in INVOCATIONS else path[1:]
        seconds, client = time.perf_counter() - begin, scope.get("client_name", "")
        self._count(route, generation, status, seconds, n_rows, client)

    def turned_away(self) -> bytes:
        """What a connection is told for which there is no place; counts it."""
        self._count("other", self.models.first, 503, 0.0, 0)
        return TURNED_AWAY

    def close(self) -> None:
        """Have what is at work end at its next step, and the threads with it."""
        self.models.close()

    def _count(
        self,
        route: str,
        generation: Generation,
        status: int,
        seconds: float,
        n_rows: int,
        client: str = "",
    ) -> None:
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
                generation.name,
                generation.version or "-",
                n_rows,
                status,
                1000 * seconds,
            )

    def _named(self, path: str) -> tuple[Generation, str]:
        """Model of a path `/models/<name>/[<version or alias>/]…`, and the path that it means."""
        _, _, name, *rest = path.split("/")
        below = BELOW_MODELS.get(f"/{rest[-1]}") if len(rest) in (1, 2) else None
        if below is not None:
            return self.models.find(name, rest[0] if len(rest) == 2 else None), below
        raise NotFoundError(
            f"Nothing is at {path[:80]!r}. There are {', '.join(BELOW_MODELS)} below {NAMED}<name> and "
            f"{NAMED}<name>/<version or alias>."
        )

    async def _invoke(self, scope: Scope, receive: Receive, generation: Generation) -> tuple[bytes, int]:
        """Answer of `/invocations`, and its number of rows."""
        _require(scope, "POST")
        content_type = _header(scope, b"content-type").decode("latin-1")
        body = await self._body(scope, receive, generation)
        protocol = generation.service.invocations

        def read() -> Request:
            return protocol.read(body, content_type), protocol.write

        content: tuple[bytes, int] = await generation.service.answer(read, len(body))
        return content

    async def _infer(
        self, scope: Scope, receive: Receive, generation: Generation, headers: list[tuple[bytes, bytes]]
    ) -> tuple[bytes, int]:
        """Answer of `infer`, and its number of rows; one with raw bytes changes the headers."""
        _require(scope, "POST")
        protocol = generation.service.inference
        json_length = _header(scope, LENGTH_HEADER)
        body = await self._body(scope, receive, generation)
        content_type = _header(scope, b"content-type").decode("latin-1")
        # No browser sends this header to another site without asking it first.
        if content_type or not json_length:
            media_type(content_type, (JSON, OCTETS) if json_length else (JSON,))

        def read() -> Request:
            request = protocol.read(body, json_length)
            return request.question, lambda answer: protocol.write(request, answer)

        parts, n_rows = await generation.service.answer(read, len(body))
        if len(parts) > 1:
            headers[0] = OCTETS_HEADER
            headers.append((LENGTH_HEADER, b"%d" % len(parts[0])))
        return b"".join(parts), n_rows

    async def _body(self, scope: Scope, receive: Receive, generation: Generation) -> bytes:
        """Body of a request as it was before compression."""
        length = _header(scope, b"content-length")
        if len(length) < 10:  # else it is too long
            generation.service.check_place(int(length or b"0"))
        body = await read_body(scope, receive, self.settings.max_body_bytes)
        encoding = _header(scope, b"content-encoding").decode("latin-1")
        if encoding:
            body = await asyncio.to_thread(decoded, body, encoding, self.settings.max_body_bytes)
            reserve(scope, len(body))
        return body

    def _page(self, scope: Scope, path: str, generation: Generation) -> bytes:
        """Content of a page that is asked for by GET."""
        if path not in self._pages:
            raise NotFoundError(
                f"Nothing is at {path[:80]!r}. There are /invocations, /v2, {NAMED}<name>, "
                f"{', '.join(self._pages)}."
            )
        _require(scope, "GET")
        return self._pages[path](generation)


def _openapi(models: Models) -> bytes:
    from proto_model.serving.http.openapi import openapi_document

    return orjson.dumps(openapi_document(models), option=orjson.OPT_INDENT_2)


def _error(is_v2: bool, code: str, text: str) -> bytes:
    return orjson.dumps({"error": text} if is_v2 else {"error_code": code, "message": text})


def _require(scope: Mapping[str, Any], *methods: str) -> None:
    given = scope["method"]
    if given not in methods and not (given == "HEAD" and "GET" in methods):
        raise MethodError(f"{given} given for {scope['path'][:80]}, {' or '.join(methods)} expected.")


def _header(scope: Mapping[str, Any], name: bytes) -> bytes:
    """Value of a header, empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def listen(settings: ServerSettings, option: str = "-p") -> socket.socket:
    """Socket at the address of the settings, which does not listen yet; raises AddressError.

    `option` is that of the port, for its message.
    """
    if not 0 <= settings.port <= MAX_PORT:  # the system would take the rest of a division by 65536
        raise AddressError(f"{settings.port} is no port. Choose one from 0 to {MAX_PORT} with {option}.")
    try:
        return bind(settings.host, settings.port, shared=settings.workers > 1)
    except OSError as error:
        raise refused_address(settings.host, settings.port, error, port_option=option) from error


def protection_of(settings: ServerSettings) -> tuple[Access | None, Certificates | None]:
    """Tokens and certificates; raises ServerSettingsError if they cannot be used."""
    try:
        return settings.protection.access(OPEN), settings.protection.certificates()
    except AccessError as error:
        raise ServerSettingsError(str(error)) from error


def serve(hosting: Hosting, listener: socket.socket) -> int:
    """Answer until SIGTERM or SIGINT, then finish what was begun; the process's exit code.

    Workers share the memory of the models; `listener` is from `listen`. SIGHUP has the registry asked. Raises
    ArtifactError if a model cannot be loaded.
    """
    settings = hosting.settings
    metrics = Metrics(settings.workers)
    limits = _limits(settings, listener.getsockname()[0])
    scheme = "http" if limits.tls is None else "https"
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asks = (signal.SIGHUP,) if hosting.board is not None else ()
    pulse = Pulse(settings.workers)
    pages = HealthPages(pulse, {path: (JSON.encode(), b"\n") for path in HEALTH[:3]}, (HEALTH[3], "/metrics"))
    health_listener = None
    if settings.health_port:
        health_listener = listen(replace(settings, port=settings.health_port), "--health-port")

    def answer(
        hosted: Hosted, here: socket.socket, at: socket.socket | None, supervisor: int | None = None
    ) -> None:
        app = App(hosted, metrics)
        own = replace(limits, turned_away=app.turned_away, beat=pulse.beat)
        health = None if at is None else (pages, at)
        listeners = [one for one in (listener, health_listener, here, at) if one is not None]
        with ExitStack() as beside_it:
            beside_it.enter_context(hosted.explaining(listeners, metrics.count_death))
            if hosting.board is not None:
                following = beside_it.enter_context(Following(hosted, hosting.board))
                for number in asks:
                    signal.signal(number, following.ask)
            run(app, own, here, app.close, supervisor, health)

    if settings.workers == 1:
        hosted = Hosted(hosting, changed=metrics.set_jobs)
        _tell(hosted.models.all, listener, scheme)
        answer(hosted, listener, health_listener)
        return 0
    _tell(hosting.load_all(), listener, scheme)
    freeze()

    def work(worker: int, supervisor: int) -> None:
        metrics.use(worker)
        pulse.use(worker)
        hosted = Hosted(hosting, worker, metrics.set_jobs)
        answer(
            hosted,
            beside(listener),
            None if health_listener is None else beside(health_listener),
            supervisor,
        )

    return supervise(work, settings.workers, ended=lambda _: None, passed_on=asks)


def _limits(settings: ServerSettings, address: str) -> Limits:
    """Limits of each process; warns where names or tokens leave the address open."""
    hosts = Hosts(settings.host, address, settings.allowed_hosts)
    access, tls = protection_of(settings)
    for warning in (hosts.warning, settings.protection.warning(address)):
        if warning:
            logger.warning(warning)
    return Limits(
        settings.max_connections,
        settings.body_timeout_s,
        settings.drain_timeout_s,
        hosts,
        settings.max_bodies_bytes,
        HEALTH,
        access=access,
        tls=tls,
    )


def _tell(models: Sequence[Generation], listener: socket.socket, scheme: str) -> None:
    """Say what is served, and where."""
    host, port = listener.getsockname()[:2]
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    for model in models:
        logger.info("%s version %s on %s", model.name, model.version or "-", address)
