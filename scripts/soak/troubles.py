"""What is done to the servers meanwhile: workers killed, servers exchanged, faults on the way, crowds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import get_args

from scripts.soak.clients import Crowd
from scripts.soak.record import Record, children
from scripts.soak.relay import Mode
from scripts.soak.stage import Kind, Stage

REPLACED_S = 60.0


@dataclass(frozen=True)
class Rhythm:
    """Seconds between troubles of each kind, and how many connections a crowd has."""

    kill_s: float
    exchange_s: float
    fault_s: float
    crowd_s: float
    crowd: int

    @classmethod
    def of(cls, minutes: float) -> Rhythm:
        """A rhythm in which each trouble comes several times."""
        seconds = 60 * minutes
        return cls(
            kill_s=min(45.0, seconds / 6),
            exchange_s=min(240.0, seconds / 5),
            fault_s=min(12.0, seconds / 10),
            crowd_s=min(30.0, seconds / 5),
            crowd=300,
        )


class Troubles:
    """Makes trouble, and tells the record which errors it may cause."""

    def __init__(self, stage: Stage, record: Record, rng: random.Random, rhythm: Rhythm) -> None:
        self._stage, self._record, self._rng, self._rhythm = stage, record, rng, rhythm
        self._exchanging = asyncio.Lock()

    async def kill(self) -> None:
        """SIGKILL of a worker of each server in turn."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        while True:
            for kind in kinds:
                await asyncio.sleep(self._rhythm.kill_s)
                async with self._exchanging:
                    await self._kill(kind)

    async def _kill(self, kind: Kind) -> None:
        server = self._stage.servers[kind]
        before = children(server.pid)
        if not before:
            return
        with self._record.disturbing(f"SIGKILL of a worker, {kind}", kind):
            os.kill(self._rng.choice(before), signal.SIGKILL)
            end = time.monotonic() + REPLACED_S
            while len(set(children(server.pid)) - set(before)) == 0:
                if time.monotonic() > end:
                    self._record.unforeseen(f"{kind} server", "a killed worker was not replaced")
                    return
                await asyncio.sleep(0.2)

    async def exchange(self) -> None:
        """A rolling restart of each server in turn; that of rows brings the other version."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        while True:
            for kind in kinds:
                await asyncio.sleep(self._rhythm.exchange_s)
                async with self._exchanging:
                    await self._stage.exchange(kind)
                    self._record.done[f"rolling restart, {kind}"] += 1

    async def faults(self) -> None:
        """A fault for a moment, between mapper and model server or between file server and store."""
        while True:
            for part, relay in (
                ("model relay", self._stage.model_relay),
                ("store relay", self._stage.store_relay),
            ):
                await asyncio.sleep(self._rhythm.fault_s)
                modes = [mode for mode in get_args(Mode) if mode != "pass"]
                mode = self._rng.choice(modes)
                with self._record.disturbing(f"{mode}, {part}", part):
                    relay.mode = mode
                    try:
                        await asyncio.sleep(min(2.0, self._rhythm.fault_s / 2))
                    finally:
                        relay.mode = "pass"

    async def crowds(self, crowd: Crowd) -> None:
        """A crowd for rows, one for the mapper, and so on."""
        while True:
            for kind in ("rows", "mapper"):
                await asyncio.sleep(self._rhythm.crowd_s)
                with self._record.disturbing(f"crowd, {kind}", f"crowd at {kind}"):
                    await crowd.come(kind, self._rhythm.crowd)

    async def watch(self, interval_s: float) -> None:
        """Memory and descriptors, again and again."""
        while True:
            roots: dict[str, int] = {kind: server.pid for kind, server in self._stage.servers.items()}
            with contextlib.suppress(ProcessLookupError):
                await asyncio.to_thread(self._record.sample, roots)
            await asyncio.sleep(interval_s)
