"""The models of one mapper, by name, each as the version that is mapped now.

A request takes a service, which is of one version, when its path is known, and keeps it to its end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import orjson

from mapper.application.service import Application
from mapper.http.backend import Backend
from mapper.http.metrics import Metrics
from mapper.http.problem import MEDIA_TYPE, problem_of_status
from mapper.http.service import MapperService
from mapper.http.settings import MapperSettings
from mapper.model_server.client import Gate
from mapper.registry import PublishedModel

NAMED = "/models/"
MAX_LINE_BYTES = 512  # of which a path of ours takes less

Opened = tuple[PublishedModel, Application]


class Models:
    """Services by name, as an ASGI application; the first one answers where no name is given.

    With several models, each is asked for at `/models/<name>` of the model server.
    """

    def __init__(self, settings: MapperSettings, opened: Mapping[str, Opened]) -> None:
        self._settings = settings
        metrics = Metrics()
        self.backends = {
            name: Backend(settings, metrics, f"{NAMED}{name}" if len(opened) > 1 else "") for name in opened
        }
        self._services = {name: self.service(name, *parts) for name, parts in opened.items()}
        self._first = next(iter(opened))

    def service(self, name: str, published: PublishedModel, application: Application) -> MapperService:
        """Service of a version, which does not answer yet."""
        made = MapperService(self._settings, published, application, self.backends[name])
        made.name, made.listed = name, self._listed
        return made

    def _listed(self) -> list[dict[str, Any]]:
        return [service.described for service in self._services.values()]

    def now(self, name: str) -> MapperService:
        """The service that answers."""
        return self._services[name]

    def swap(self, name: str, service: MapperService) -> None:
        """Let this one answer the requests that come from now on."""
        self._services[name] = service

    @property
    def names(self) -> Sequence[str]:
        """Names, the first one first."""
        return tuple(self._services)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request; what is below `/models/<name>` is that model's."""
        path: str = scope["path"]
        service = self._services[self._first]
        if path.startswith(NAMED):
            name, slash, rest = path[len(NAMED) :].partition("/")
            if name not in self._services:
                await self._refuse(name, send)
                return
            service = self._services[name]
            scope["path"], scope["root_path"] = slash + rest or "/", f"{NAMED}{name}"
        await service(scope, receive, send)

    async def _refuse(self, name: str, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        known = " or ".join(f"{NAMED}{known}" for known in self._services)
        problem = problem_of_status(404, f"There is no model {name[:80]!r} here. Send to {known}.", "-")
        body = orjson.dumps(problem.document)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),  # its body was not read
        ]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def gate_of(self, beginning: bytes) -> Gate | None:
        """What a request has to pass, by its first bytes; None for what the model server is not asked."""
        path = beginning[:MAX_LINE_BYTES].partition(b" ")[2].partition(b" ")[0].partition(b"?")[0]
        name = self._first
        if path.startswith(NAMED.encode()):
            given, slash, path = path[len(NAMED) :].partition(b"/")
            name, path = given.decode("latin-1"), slash + path
        service = self._services.get(name)
        return None if service is None else service.gate_of(path)

    def turned_away(self) -> bytes:
        """What a connection is told for which there is no place; counts it."""
        return self._services[self._first].turned_away()

    def refresh(self) -> None:
        """Look whether the tokens for the model server have changed."""
        for backend in self.backends.values():
            backend.refresh()

    def close(self) -> None:
        """Answer what is still at work with a 503, and end the connections to the model server."""
        for backend in self.backends.values():
            backend.close()
