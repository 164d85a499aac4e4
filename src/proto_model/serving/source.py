"""A model source over HTTP: a record, or a list of them, in; what its score function gives out.

Connections have the protections of the lean server. The source runs in one process with limits, which is
started again after it ended. Requests are answered one after the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from proto_model.errors import InputError, counted
from proto_model.serving.http.app import listen
from proto_model.serving.http.body import decoded, media_type
from proto_model.serving.http.connection import ClientGoneError, Limits, RefusedError, read_body
from proto_model.serving.http.errors import (
    LengthError,
    MethodError,
    NotFoundError,
    OverloadError,
    fault,
    forget_frames,
)
from proto_model.serving.http.hosts import Hosts
from proto_model.serving.http.server import run
from proto_model.serving.http.settings import ServerSettings
from proto_model.sources import (
    Keeper,
    Options,
    RejectedError,
    SourceEndedError,
    SourceModel,
    SourceSlowError,
)
from proto_model.sources.session import json_line

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
JSON = "application/json"
PATHS = ("/", "/score", "/invocations")
MAX_RECORDS = 10_000
MAX_WAITING = 32
MAX_CONNECTIONS = 256

Scope = MutableMapping[str, Any]


@dataclass(frozen=True)
class SourceServer:
    """Where a source is served, and the limits of a request."""

    port: int = 8090  # 0 takes a free one
    max_body_bytes: int = 16 * 1024 * 1024
    body_timeout_s: float = 30.0
    drain_timeout_s: float = 25.0


class SourceApp:
    """Answers HTTP requests with a source."""

    def __init__(self, keeper: Keeper, model: SourceModel, settings: SourceServer) -> None:
        self._keeper, self._settings = keeper, settings
        self._n_waiting = 0
        self._facts = {
            "source": model.source.name,
            "digest": model.digest,
            "functions": {role: one.name for role, one in model.source.functions.items()},
            "input_schema": None if model.input_schema is None else json.loads(model.input_schema.content),
            "output_schema": None if model.output_schema is None else json.loads(model.output_schema.content),
        }

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        headers = [(b"content-type", JSON.encode())]
        try:
            status, answer = 200, await self._answer(scope, receive)
        except ClientGoneError:
            return
        except RefusedError as error:
            status, answer = error.status, {"error": str(error)}
            headers.append((b"connection", b"close"))
        except Exception as error:
            status, answer = _fault(error)
            forget_frames(error)
            if status == 503:
                headers.append((b"retry-after", b"1"))
        content = json_line(answer)
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Callable[[], Awaitable[Any]]) -> Any:
        if "fault" in scope:
            raise RefusedError(*scope["fault"])
        path, method = scope["path"], scope["method"]
        if path in ("/ping", "/v1/source"):
            if method not in ("GET", "HEAD"):
                raise MethodError(f"{method} given, GET expected.")
            return self._facts if path == "/v1/source" else {"status": "ok"}
        if path not in PATHS:
            raise NotFoundError(
                f"Nothing is at {path[:80]!r}. There are {', '.join(PATHS)}, /ping, /v1/source."
            )
        if method != "POST":
            raise MethodError(f"{method} given, POST expected, with a record or a list of records as JSON.")
        given = dict(scope["headers"])
        media_type(given.get(b"content-type", b"").decode("latin-1"), (JSON,))
        most = self._settings.max_body_bytes
        body = await read_body(scope, receive, most)
        body = decoded(body, given.get(b"content-encoding", b"").decode("latin-1"), most)
        records = _parsed(body)
        is_one = not isinstance(records, list)
        if not is_one and len(records) > MAX_RECORDS:
            raise LengthError(
                f"{counted(len(records), 'record')} given, at most {MAX_RECORDS:,} are taken at once."
            )
        if self._n_waiting >= MAX_WAITING:
            raise OverloadError("Too many requests are waiting. Try again shortly.")
        self._n_waiting += 1
        try:
            return await asyncio.to_thread(self._keeper.answer, [records] if is_one else records, is_one)
        finally:
            self._n_waiting -= 1


def _parsed(body: bytes) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number in JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The body is not JSON: {error}. Send a record, or a list of records.") from error


def _fault(error: Exception) -> tuple[int, dict[str, str]]:
    if isinstance(error, RejectedError):
        return 400, {"error": str(error)}
    if isinstance(error, SourceEndedError):
        logger.error("The source ended while it answered; it is started again for the next request.")
        return (504 if isinstance(error, SourceSlowError) else 500), {"error": str(error)}
    status, _, text = fault(error)
    return status, {"error": text}


def serve_source(model: SourceModel, options: Options, settings: SourceServer) -> int:
    """Answer on this machine until SIGTERM or SIGINT, then finish what was begun; the exit code.

    A SourceEndedError says that the source cannot be loaded, an AddressError that the port is taken.
    """
    model.source.function("score")
    listener = listen(replace(ServerSettings(), host=HOST, port=settings.port))
    keeper = Keeper(model, options)
    try:
        keeper.begin()
        limits = Limits(
            MAX_CONNECTIONS,
            settings.body_timeout_s,
            settings.drain_timeout_s,
            Hosts(HOST, HOST),
            health=("/ping",),
        )
        logger.info(
            "%s, model %s, on http://%s:%d", model.source.name, model.digest, *listener.getsockname()[:2]
        )
        run(SourceApp(keeper, model, settings), limits, listener, keeper.end)
    finally:
        listener.close()
        keeper.close()
    return 0
