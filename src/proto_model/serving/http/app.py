"""The server as a bare ASGI app: routes, limits and errors around the two protocols."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson

from proto_model.errors import InputError
from proto_model.serving.http.arrival import Arrivals
from proto_model.serving.http.errors import LengthError, MethodError, NotFoundError, fault
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.payload import JSON
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.service import Endpoints
from proto_model.serving.http.settings import ServerSettings

__all__ = ["App"]

logger = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Request = tuple[Any, Callable[[Any], bytes]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# A body that is too long is read to its end, up to so many times the limit, and forgotten: most clients look
# for an answer only when they have sent everything.
DISCARDED = 4
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
JSON_HEADER = (b"content-type", JSON.encode())


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


class App:
    """Answers HTTP requests with a model.

    Parameters
    ----------
    model : ServedModel
        The model.
    settings : ServerSettings
        Limits.
    metrics : Metrics
        Counts what happens.
    """

    def __init__(self, model: ServedModel, settings: ServerSettings, metrics: Metrics) -> None:
        self.model = model
        self.settings = settings
        self.metrics = metrics
        self._arrivals = Arrivals(settings.body_timeout_s)
        endpoints = Endpoints.of(model, settings, metrics.set_jobs)
        self._invocations, self._inference = endpoints.invocations, endpoints.inference
        self._service = endpoints.service
        self._pages: dict[str, Callable[[], bytes]] = {
            "/ping": lambda: b"\n",
            "/health": lambda: b"\n",
            "/version": model.mlflow_version.encode,
            "/metrics": metrics.text,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begin = time.perf_counter()
        path: str = scope["path"]
        is_v2 = path == "/v2" or path.startswith("/v2/")
        n_rows = 0
        header = JSON_HEADER
        try:
            if path == "/invocations":
                content, n_rows = await self._invoke(scope, receive)
            elif is_v2:
                content, n_rows = await self._v2(scope, receive, path)
            else:
                content = self._page(scope, path)
                header = TEXT if path == "/metrics" else JSON_HEADER
            status = 200
        except DisconnectedError:
            return
        except Exception as error:
            status, code, text = fault(error)
            content = orjson.dumps({"error": text} if is_v2 else {"error_code": code, "message": text})
        headers = [header, (b"content-length", b"%d" % len(content))]
        if status == 503:
            headers.append((b"retry-after", b"%d" % self._service.retry_after_s))
        elif status == 405:
            headers.append((b"allow", b"POST" if path.endswith(("/invocations", "/infer")) else b"GET"))
        elif status == 408:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        seconds = time.perf_counter() - begin
        route = "v2" if is_v2 else path[1:]
        self.metrics.count(route, status, seconds, n_rows)
        if self.settings.access_log:
            logger.info(
                "route=%s model_name=%s model_version=%s rows=%d status=%d duration_ms=%.3f",
                route,
                self.model.schema.model_name,
                self.model.version or "-",
                n_rows,
                status,
                1000 * seconds,
            )

    def close(self) -> None:
        """Have what is at work end at its next step, and the threads with it."""
        self._service.close()

    async def _invoke(self, scope: Scope, receive: Receive) -> tuple[bytes, int]:
        """Answer of `/invocations`, and its number of rows."""
        _require(scope, "POST")
        content_type = _header(scope, b"content-type").decode("latin-1")
        body = await self._body(scope, receive)
        protocol = self._invocations

        def read() -> Request:
            return protocol.read(body, content_type), protocol.write

        content: tuple[bytes, int] = await self._service.answer(read, len(body))
        return content

    async def _v2(self, scope: Scope, receive: Receive, path: str) -> tuple[bytes, int]:
        """Answer of a path of the Open Inference Protocol, and its number of rows."""
        protocol = self._inference
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

        def read() -> Request:
            request = protocol.read(body)
            return request.question, partial(protocol.write, request)

        content: tuple[bytes, int] = await self._service.answer(read, len(body))
        return content

    def _page(self, scope: Scope, path: str) -> bytes:
        """Content of a page that is asked for by GET."""
        if path not in self._pages:
            raise NotFoundError(
                f"Nothing is at {path[:80]!r}. There are /invocations, /v2, {', '.join(self._pages)}."
            )
        _require(scope, "GET")
        return self._pages[path]()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Body of a request, within the limits."""
        most = self.settings.max_body_bytes
        declared = _header(scope, b"content-length")
        if declared and int(declared) > most * DISCARDED:
            raise _too_long(most)
        parts: list[bytes] = []
        length = 0
        more = True
        with self._arrivals:
            while more and length <= most * DISCARDED:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                more = message.get("more_body", False)
                length += len(message["body"])
                if length <= most:
                    parts.append(message["body"])
        if length > most:
            raise _too_long(most)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _require(scope: Scope, method: str) -> None:
    given = scope["method"]
    if given != method and not (given == "HEAD" and method == "GET"):
        raise MethodError(f"{given} given, {method} expected.")


def _header(scope: Scope, name: bytes) -> bytes:
    """Value of a header, empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def _too_long(most: int) -> LengthError:
    return LengthError(f"The body is longer than {most} bytes, the most taken. Send fewer rows at a time.")
