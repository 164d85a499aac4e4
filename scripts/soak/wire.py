"""HTTP/1.1 as the soak's clients speak it: one connection, what came back, and what did not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_S = 60.0


class NoAnswerError(Exception):
    """The connection ended, or time did, before the answer was complete."""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Content, None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Connection:
    """A connection that is kept, and opened again when it has been closed; `retried` counts how often."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.retried = 0

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        """Answer to a request; raises NoAnswerError.

        An idle connection may be closed at any time. A request that finds it so is sent once more, as any
        HTTP client does.
        """
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        message = "\r\n".join([*lines, "", ""]).encode() + body
        kept = self._streams is not None
        try:
            return await asyncio.wait_for(self._exchange(message), TIMEOUT_S)
        except (OSError, EOFError) as error:
            self.close()
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise NoAnswerError(_name(error)) from error
        except TimeoutError as error:
            self.close()
            raise NoAnswerError("no answer in time") from error
        self.retried += 1
        return await self.post(path, body, headers)

    async def _exchange(self, message: bytes) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        reply = await read_reply(reader)
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    def close(self) -> None:
        """End the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Answer from a stream; raises OSError or EOFError if there is none, or not all of it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise OSError("a head without an end") from error
    first, *lines = head.decode("latin-1").splitlines()
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise OSError(f"no HTTP: {first[:40]!r}")
    pairs = [line.partition(":") for line in lines if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = b""
    if length := int(headers.get("content-length", "0")):
        try:
            body = await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise asyncio.IncompleteReadError(head + error.partial, length) from error
    return Reply(int(parts[1]), headers, body)


def _name(error: BaseException) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "the answer was cut" if error.partial else "closed without an answer"
    return type(error).__name__
