"""A relay of TCP connections before a server that may be exchanged; it breaks them when told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Literal

from scripts.soak.wire import HOST

Mode = Literal["pass", "slow", "reset", "cut", "refuse", "error", "garbage"]
SLOW_S = 0.2
SAYS_BUSY = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
GARBAGE = b"\x00\xffHTTP?\r\n\r\n{"


class Relay:
    """Hands connections on to `target`; `mode` says what happens to what passes meanwhile."""

    def __init__(self) -> None:
        self.target = 0
        self.mode: Mode = "pass"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen at a free port."""
        self._server = await asyncio.start_server(self._relay, HOST, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End it, and what passes through it."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._between(reader, writer)
        except asyncio.CancelledError:
            pass  # at the end
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "refuse":
            return
        there, back = await asyncio.open_connection(HOST, self.target)
        try:
            ways = [self._requests(reader, back, writer), self._answers(there, writer)]
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                # A client may end its side and wait for the answer; once the server ends, all is over.
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.close()

    async def _requests(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if self.mode in ("reset", "refuse"):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                raise ConnectionResetError
            if self.mode in ("error", "garbage"):
                writer.write(SAYS_BUSY if self.mode == "error" else GARBAGE)
                await writer.drain()
                raise ConnectionResetError
            back.write(data)
            await back.drain()
        if back.can_write_eof():
            back.write_eof()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65536):
            if self.mode == "slow":
                await asyncio.sleep(SLOW_S)
            if self.mode == "cut":
                writer.write(data[: len(data) // 2])
                await writer.drain()
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()
        raise EOFError  # ends the other way, too
