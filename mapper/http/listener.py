"""All connections from clients: what they share, their time limits, and an orderly end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from mapper.http.client_connection import ClientConnection
from mapper.http.message import Answer, Request

__all__ = ["Listener"]

LOOK_S = 1.0  # how often clocks are looked at; one timer for all costs less than one per request


class Listener:
    """Accepts connections and hands their requests to a service.

    Parameters
    ----------
    service : callable
        Gives the answer to a request, and the id that it goes by; raises nothing.
    max_body_bytes : int
        Largest body that is read.
    body_timeout_s : float
        Longest time that a request may take to arrive.
    max_connections : int
        Connections at once; further ones are told that they are too many.

    Attributes
    ----------
    date : str
        The time of day as HTTP writes it.
    is_stopping : bool
        Whether connections end with the answer that is being given.
    """

    def __init__(
        self,
        service: Callable[[Request], Awaitable[tuple[Answer, str]]],
        max_body_bytes: int,
        body_timeout_s: float,
        max_connections: int,
    ) -> None:
        self.service = service
        self.max_body_bytes = max_body_bytes
        self.body_timeout_s = body_timeout_s
        self.max_connections = max_connections
        self.connections: set[ClientConnection] = set()
        self.date = formatdate(usegmt=True)
        self.is_stopping = False
        self._look_s = min(LOOK_S, body_timeout_s / 4)
        self._nobody = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self), sock=listening, backlog=1024)
        self._looking = loop.create_task(self._look())

    async def close(self, drain_s: float) -> None:
        """Accept no more, and end what has been begun, for at most so many seconds."""
        assert self._server is not None
        assert self._looking is not None
        self._server.close()
        self.is_stopping = True
        for connection in list(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(drain_s):
                while self.connections:
                    self._nobody.clear()
                    await self._nobody.wait()
        except TimeoutError:
            await asyncio.gather(*(connection.abort() for connection in self.connections))
        self._looking.cancel()

    def forget(self, connection: ClientConnection) -> None:
        """Take a connection that has ended off the list."""
        self.connections.discard(connection)
        if not self.connections:
            self._nobody.set()

    async def _look(self) -> None:
        """Keep the date, and end what takes too long."""
        loop = asyncio.get_running_loop()
        while True:
            self.date = formatdate(usegmt=True)
            now = loop.time()
            for connection in [c for c in self.connections if c.deadline <= now]:
                connection.expire()
            await asyncio.sleep(self._look_s)
