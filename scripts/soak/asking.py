"""Clients that keep their connections while versions change: whose answer it is has to be said, and true."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from scripts.soak.clients import rows_of
from scripts.soak.record import Record
from scripts.soak.registry import NAME, Registry
from scripts.soak.wire import HOST, TIMEOUT_S, Reply, read_reply
from scripts.soak.workers import Kill

Protocol = Literal["invocations", "v2", "mapper"]
#: What sixteen clients ask; the last one of them asks why.
PROTOCOLS: tuple[Protocol, ...] = (*["invocations"] * 6, *["v2"] * 5, *["mapper"] * 4)
EXPLAINED: tuple[Protocol, ...] = ("invocations", "mapper")
EXPLAIN_PACE = 2  # plain requests in the time of one that is explained
SIZES = ((0.7, 1, 1), (0.2, 2, 20), (0.1, 100, 500))  # share of requests, least and most rows


@dataclass(frozen=True)
class Ask:
    """What one client asks for, and which server answers."""

    protocol: Protocol
    explain: bool

    @property
    def server(self) -> str:
        """The server it asks."""
        return "mapper" if self.protocol == "mapper" else "rows"

    @property
    def actor(self) -> str:
        """What the report calls it."""
        return f"{self.protocol}, explained" if self.explain else self.protocol


def asks(n_clients: int) -> list[Ask]:
    """What so many clients ask."""
    group = len(PROTOCOLS) + 1
    explained = itertools.cycle(EXPLAINED)
    return [
        Ask(next(explained), True)
        if number % group == group - 1 or number == n_clients - 1
        else Ask(PROTOCOLS[number % group], False)
        for number in range(n_clients)
    ]


@dataclass(frozen=True)
class Plain:
    """One answered request of one row, without an explanation; `begin` on the clock of this process."""

    server: str
    begin: float
    seconds: float
    version: str


@dataclass
class Seen:
    """What all clients share: the kills that there were, and when which version answered."""

    kills: list[Kill] = field(default_factory=list)
    plain: list[Plain] = field(default_factory=list)
    answers: dict[str, list[tuple[float, float, str]]] = field(
        default_factory=lambda: {"rows": [], "mapper": []}
    )

    def cause(self, server: str, line: Line, sent: float, failed: float) -> str | None:
        """Which kill took a connection along, if one did."""
        for kill in self.kills:
            if kill.server == server and kill.took(line.port, line.opened, failed):
                when = "at work" if sent < kill.stopped else "sent before its client saw the end"
                return f"SIGKILL of a worker, {server}: {when}"
        return None


class Line:
    """A connection of a client: its port, None if it did not come about, and when it was being opened."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.port: int | None = None
        self.opened = (0.0, float("inf"))

    async def open(self) -> None:
        """Connect; raises OSError."""
        self.port, self.opened = None, (time.monotonic(), float("inf"))
        self._streams = await asyncio.open_connection(HOST, self._server_port)
        self.port = self._streams[1].get_extra_info("sockname")[1]
        self.opened = (self.opened[0], time.monotonic())

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and the server has not ended it."""
        if self._streams is None:
            return False
        reader, writer = self._streams
        return not (reader.at_eof() or reader.exception() or writer.is_closing())

    @property
    def was_open(self) -> bool:
        """Whether it was opened once."""
        return self._streams is not None

    async def exchange(self, message: bytes) -> Reply:
        """Answer to a request, which is sent once; raises OSError or EOFError."""
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        return await read_reply(reader)

    def close(self) -> None:
        """End it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Client:
    """One client: no request is sent twice, so that none that fails goes unseen."""

    def __init__(
        self, ask: Ask, registry: Registry, port: int, record: Record, seen: Seen, seed: int
    ) -> None:
        self._ask, self._registry, self._port = ask, registry, port
        self._record, self._seen = record, seen
        self._rng = random.Random(seed)
        self._name = f"soak-{seed}"

    async def run(self, interval_s: float) -> None:
        """Ask without end."""
        interval_s *= EXPLAIN_PACE if self._ask.explain else 1
        line = Line(self._port)
        await asyncio.sleep(self._rng.random() * interval_s)
        try:
            for number in itertools.count():
                begin = time.monotonic()
                await self._one(line, f"{self._name}-{number}")
                await asyncio.sleep(max(0.0, begin + interval_s - time.monotonic()))
        finally:
            line.close()

    async def _one(self, line: Line, request_id: str) -> None:
        places = self._rng.sample(range(len(self._registry.records)), self._size())
        message = self._message(places, request_id)
        if line.was_open and not line.is_open:
            self._closed(line)
        sent = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if not line.was_open:
                    await line.open()
                    sent = time.monotonic()
                reply = await line.exchange(message)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            self._failed(line, sent, error)
            return
        end = time.monotonic()
        if reply.headers.get("connection", "").lower() == "close":
            line.close()
        if reply.status != 200:
            self._record.requests[self._ask.actor] += 1
            self._record.unforeseen(self._ask.actor, str(reply.status), reply.body[:300].decode("latin-1"))
            return
        version, complaint = self._read(reply, places, request_id)
        if complaint:
            self._record.wrongly(self._ask.actor, complaint)
            return
        self._record.answered(self._ask.actor, "200, right")
        self._seen.answers[self._ask.server].append((sent, end, version))
        if len(places) == 1 and not self._ask.explain:
            self._seen.plain.append(Plain(self._ask.server, sent, end - sent, version))

    def _size(self) -> int:
        if self._ask.explain:
            return 1
        shares = [share for share, *_ in SIZES]
        [(_, least, most)] = self._rng.choices(SIZES, shares)
        return self._rng.randint(least, most)

    def _closed(self, line: Line) -> None:
        """Note why a connection was closed between two requests; the next one opens another."""
        now = time.monotonic()
        cause = self._seen.cause(self._ask.server, line, now, now)
        line.close()
        known = "idle when its worker was killed" if cause else "idle, closed by the server"
        self._record.retried[f"{self._ask.actor}: {known}"] += 1

    def _failed(self, line: Line, sent: float, error: BaseException) -> None:
        kind = type(error).__name__
        cause = self._seen.cause(self._ask.server, line, sent, time.monotonic())
        line.close()
        self._record.requests[self._ask.actor] += 1
        if cause and not isinstance(error, TimeoutError):
            self._record.expected[self._ask.actor, kind, cause] += 1
        else:
            self._record.unforeseen(self._ask.actor, kind, str(error))

    def _message(self, places: list[int], request_id: str) -> bytes:
        path, content = self._content([self._registry.records[place] for place in places], request_id)
        body = orjson.dumps(content)
        lines = (
            f"POST {path} HTTP/1.1",
            f"Host: {HOST}:{self._port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Request-Id: {request_id}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _content(self, records: list[dict[str, Any]], request_id: str) -> tuple[str, Any]:
        names, explain = self._registry.names, self._ask.explain
        if self._ask.protocol == "mapper":
            return ("/v1/explain" if explain else "/v1/predict"), {"data": records, "session": request_id}
        if self._ask.protocol == "v2":
            inputs = [
                {"name": n, "shape": [len(records)], "datatype": "FP64", "data": [r[n] for r in records]}
                for n in names
            ]
            return f"/v2/models/{NAME}/infer", {"id": request_id, "inputs": inputs}
        rows = [list(record.values()) for record in records]
        params = {"params": {"explain": True}} if explain else {}
        return "/invocations", {"dataframe_split": {"columns": names, "data": rows}, **params}

    def _read(self, reply: Reply, places: list[int], request_id: str) -> tuple[str, str]:
        """Version that an answer names, and what is wrong with it; nothing if all of it is that version's."""
        try:
            content = orjson.loads(reply.body)
            version = self._version(reply, content)
            rows, echoed = rows_of(self._ask.protocol, content)
            explanations = [row.pop("explanation") for row in rows] if self._ask.explain else []
            why = [(one["prediction"], one["probability"]) for one in explanations if one["rule"]]
        except (KeyError, TypeError, AttributeError, ValueError):
            return "", f"unreadable: {reply.body[:300]!r}"
        if echoed not in (None, request_id):
            return version, f"the answer to {echoed} came to {request_id}"
        expected = {
            number: [answers[place] for place in places] for number, answers in self._registry.answers.items()
        }
        if rows == expected.get(version):
            wanted = [(row["prediction"], round(row["probability"], 6)) for row in rows if self._ask.explain]
            return version, "" if why == wanted else f"version {version} answers {wanted}, and explains {why}"
        others = [number for number, answers in expected.items() if rows == answers]
        of = f"that of version {others[0]}" if others else "no version's"
        return (
            version,
            f"rows {places[:20]} of version {version}: the answer is {of}: {json.dumps(rows)[:500]}",
        )

    def _version(self, reply: Reply, content: Any) -> str:
        """The version that an answer names: the server in its header and in V2, the mapper in its content."""
        if self._ask.protocol == "mapper":
            return str(content["model"]["version"])
        version = reply.headers["x-model-version"]
        if self._ask.protocol == "v2" and content["model_version"] != version:
            raise ValueError(f"version {version} in the header, {content['model_version']} in the answer")
        return version
