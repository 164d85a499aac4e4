"""What happens meanwhile: the alias moves, workers are killed; and what was seen of the swaps."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scripts.soak import workers
from scripts.soak.asking import Plain, Seen
from scripts.soak.growth import Look
from scripts.soak.record import Record, descriptors
from scripts.soak.stage import Server
from scripts.soak.wire import HOST, read_reply

AFTER_S = 1.0  # after a swap, how long plain requests are looked at apart
REPLACED_S = 60.0
SETTLED_S = 60.0
N_LOOKS = 12  # connections over which every worker is likely to be asked
#: In this part of the time the worker that keeps the process that follows is killed, or the oldest one;
#: afterwards the youngest, so that others live long enough to be seen growing.
OLDEST = 1 / 3


@dataclass(frozen=True)
class Move:
    """The alias was moved."""

    at: float
    version: str


@dataclass
class Moves:
    """Moves the alias, and remembers when."""

    versions: Sequence[str]
    promote: Callable[[str], None]
    record: Record
    all: list[Move] = field(default_factory=list)

    async def run(self, interval_s: float) -> None:
        """Move it again and again, to a version and back."""
        first, *others = self.versions
        begin = time.monotonic()
        for number, version in enumerate(itertools.cycle((*others, first)), 1):
            await asyncio.sleep(max(0.0, begin + number * interval_s - time.monotonic()))
            move = Move(time.monotonic(), version)
            await asyncio.to_thread(self.promote, version)
            self.all.append(move)
            self.record.done["promotion"] += 1


class Kills:
    """Kills a worker of each server in turn, and sees that it is replaced."""

    def __init__(self, servers: Sequence[Server], record: Record, seen: Seen, seconds: float) -> None:
        self._servers, self._record, self._seen = servers, record, seen
        self._seconds = seconds

    async def run(self, interval_s: float) -> None:
        """Kill again and again."""
        begin = time.monotonic()
        for number, server in enumerate(itertools.cycle(self._servers), 1):
            await asyncio.sleep(max(0.0, begin + number * interval_s - time.monotonic()))
            await self._kill(server, is_early=time.monotonic() - begin < OLDEST * self._seconds)

    async def _kill(self, server: Server, *, is_early: bool) -> None:
        found = await asyncio.to_thread(workers.workers, server.pid, server.port)
        leading = [pid for pid in found if workers.follower(pid) is not None]
        pid = (leading or found)[0] if is_early else found[-1]
        what = ", the one that follows" if pid in leading else ""
        # Not in a thread: while the worker stands still, no client shall send it something.
        workers.kill(server.kind, pid, server.port, self._seen.kills)
        self._record.done[f"SIGKILL of a worker{what}, {server.kind}"] += 1
        end = time.monotonic() + REPLACED_S
        while len(set(await asyncio.to_thread(workers.workers, server.pid, server.port)) - {pid}) < len(
            found
        ):
            if time.monotonic() > end:
                self._record.unforeseen(f"{server.kind} server", "a killed worker was not replaced")
                return
            await asyncio.sleep(0.2)


@dataclass
class Watch:
    """Looks at the servers' processes and at the versions on disk."""

    servers: Sequence[Server]
    looks: list[Look] = field(default_factory=list)
    held: list[int] = field(default_factory=list)  # versions in the folder of what is on offer
    _born: dict[int, float] = field(default_factory=dict)

    async def run(self, interval_s: float) -> None:
        """Look again and again."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(interval_s)

    def _look(self) -> None:
        for server in self.servers:
            for kind, pid in workers.family(server.pid):
                now, found = time.monotonic(), workers.memory(pid)
                if found is not None:
                    age = now - self._born.setdefault(pid, now)
                    opened = descriptors(pid)
                    self.looks.append(Look(f"{server.kind} {kind}", pid, age, *found, opened))
                board = workers.board(pid) if kind == "worker" else None
                if board is not None:
                    self.held.append(sum(1 for _ in (board / "0").glob("*")))


async def settle(servers: Sequence[Server], version: str, record: Record) -> None:
    """When nothing moves any more, every worker comes to answer with the last version, and has no problem."""
    end = time.monotonic() + SETTLED_S
    for server in servers:
        state: dict[str, Any] = {}
        n_good = 0
        while n_good < N_LOOKS and time.monotonic() < end:
            state = await _state(server)
            n_good = n_good + 1 if state.get("versions") == {version} and not state["problem"] else 0
            await asyncio.sleep(0.05)
        if n_good < N_LOOKS:
            record.unforeseen(f"{server.kind} server", f"is not at version {version} in the end", f"{state}")


async def _state(server: Server) -> dict[str, Any]:
    """Versions that a server says to have, over a new connection, and what is wrong."""
    path = "/readyz" if server.kind == "mapper" else "/v2/health/ready"
    try:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        with contextlib.closing(writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode())
            reply = await read_reply(reader)
    except (OSError, EOFError):
        return {}
    content = json.loads(reply.body)
    if reply.status != 200:
        return {"problem": content}
    if server.kind == "mapper":
        return {"versions": {content["model"]["version"]}, "problem": content.get("following")}
    (model,) = content["models"]
    return {"versions": set(model["worker_versions"]), "problem": model.get("problem")}


def swaps_seen(moves: Sequence[Move], answers: Sequence[tuple[float, float, str]]) -> dict[str, Any]:
    """Of each promotion, until the next one: when the new version first answered, and the old one last.

    `answers` are the times of requests and of their answers, and the versions.
    """
    first, last = [], []
    for move, following in itertools.pairwise((*moves, Move(float("inf"), ""))):
        mine = [one for one in answers if move.at <= one[0] < following.at]
        new = [end for _, end, version in mine if version == move.version]
        old = [begin for begin, _, version in mine if version != move.version]
        if new:
            first.append(min(new) - move.at)
            last.append(max(old, default=move.at) - move.at)
    return {
        "promotions": len(moves),
        "answered": len(first),
        "first_answer_s": _quantiles(first, (0.5, 1.0)),
        "last_old_answer_s": _quantiles(last, (0.5, 1.0)),
    }


def times_seen(moves: Sequence[Move], plain: Sequence[Plain]) -> list[dict[str, Any]]:
    """How long plain requests took: while a version was fetched and loaded, just after the swap, and else."""
    rows = []
    for server in sorted({one.server for one in plain}):
        mine = [one for one in plain if one.server == server]
        swapped = _swapped(moves, mine)
        phases = [(_phase(one, swapped), one.seconds) for one in mine]
        for phase in ("between promotion and swap", f"within {AFTER_S:g} s after the swap", "otherwise"):
            seconds = [taken for found, taken in phases if found == phase]
            shown = _quantiles([1000 * taken for taken in seconds], (0.5, 0.99, 1.0))
            rows.append({"server": server, "phase": phase, "requests": len(seconds), "ms": shown})
    return rows


def _swapped(moves: Sequence[Move], plain: Sequence[Plain]) -> list[tuple[float, float]]:
    """Time of each promotion, and of the first answer of its version."""
    found = []
    for move, following in itertools.pairwise((*moves, Move(float("inf"), ""))):
        ends = [
            one.begin + one.seconds
            for one in plain
            if one.version == move.version and move.at <= one.begin < following.at
        ]
        found.append((move.at, min(ends, default=following.at)))
    return found


def _phase(one: Plain, swapped: Sequence[tuple[float, float]]) -> str:
    place = bisect.bisect_right(swapped, (one.begin, float("inf"))) - 1
    if place < 0:
        return "otherwise"
    answered = swapped[place][1]
    if one.begin < answered:
        return "between promotion and swap"
    return f"within {AFTER_S:g} s after the swap" if one.begin < answered + AFTER_S else "otherwise"


def _quantiles(values: Sequence[float], shares: Sequence[float]) -> list[float] | None:
    return [round(float(value), 2) for value in np.quantile(values, shares)] if values else None
