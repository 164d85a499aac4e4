"""Health on a port of its own, from a thread with an event loop of its own.

A thousand clients on the other port do not delay it. It still tells whether the server works: every worker's
event loop leaves a sign of life in memory that all share, and where one is missing for long, the server is
not alive. What else may be asked here, readiness and metrics, is answered by the server's own loop.
"""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HealthApp", "HealthPages", "Pulse"]

HUNG_S = 10.0  # no turn of an event loop takes as long
ANSWER_S = 5.0

Scope = MutableMapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class Pulse:
    """When the event loop of each worker turned last; to be made before they are forked."""

    def __init__(self, n_workers: int = 1) -> None:
        self._times = memoryview(mmap.mmap(-1, 8 * n_workers)).cast("d")
        self._mine = 0
        for worker in range(n_workers):
            self._times[worker] = time.monotonic()

    def use(self, worker: int) -> None:
        """Be this worker from now on."""
        self._mine = worker
        self.beat()

    def beat(self) -> None:
        """Leave a sign of life."""
        self._times[self._mine] = time.monotonic()

    def fault(self) -> str:
        """Which worker gives no sign of life, in a sentence; empty if all do."""
        now = time.monotonic()
        for worker, last in enumerate(self._times):
            if now - last > HUNG_S:
                return f"Worker {worker} has not answered for {now - last:.0f} s."
        return ""


@dataclass(frozen=True, eq=False)
class HealthPages:
    """What is answered on the port for health.

    Parameters
    ----------
    pulse : Pulse
        Signs of life of all workers.
    alive : mapping
        Content type and body of the pages that say that the server is alive, by path.
    asked : tuple of str
        Paths that the server's own loop answers.
    """

    pulse: Pulse
    alive: Mapping[str, tuple[bytes, bytes]]
    asked: tuple[str, ...]


class HealthApp:
    """Answers on the port for health, as an ASGI application; `app` answers in another loop, `loop`."""

    def __init__(self, pages: HealthPages, app: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._pages = pages
        self._app = app
        self._loop = loop

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        if "fault" in scope:
            await _send(send, scope["fault"][0], scope["fault"][1], is_last=True)
        elif path not in self._pages.alive and path not in self._pages.asked:
            known = ", ".join((*self._pages.alive, *self._pages.asked))
            await _send(send, 404, f"Nothing is at {path[:80]!r} of this port. There are {known}.")
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, f"{scope['method']} given, GET expected.")
        elif fault := self._pages.pulse.fault():
            await _send(send, 503, fault)
        elif path in self._pages.alive:
            content_type, body = self._pages.alive[path]
            await _send(send, 200, body, content_type)
        else:
            await self._ask(scope, send)

    async def _ask(self, scope: Scope, send: Send) -> None:
        """Have the server's own loop answer."""
        messages: list[dict[str, Any]] = []

        async def collect(message: dict[str, Any]) -> None:
            messages.append(message)

        if self._loop.is_closed():
            await _send(send, 503, "The server is stopping.")
            return
        asked = asyncio.run_coroutine_threadsafe(self._answer(scope, collect), self._loop)
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.wrap_future(asked)
        except TimeoutError:
            asked.cancel()
            await _send(send, 503, f"No answer within {ANSWER_S:g} s.")
            return
        for message in messages:
            await send(message)

    async def _answer(self, scope: Scope, collect: Send) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        await self._app(scope, receive, collect)


async def _send(
    send: Send,
    status: int,
    content: bytes | str,
    content_type: bytes = b"text/plain; charset=utf-8",
    *,
    is_last: bool = False,
) -> None:
    body = content.encode(errors="replace") + b"\n" if isinstance(content, str) else content
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    headers += [(b"connection", b"close")] if is_last else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
