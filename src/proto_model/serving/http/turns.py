"""Whose request begins next, when more come than are answered.

A thousand clients that ask all the time would have a thousand requests at work at once, of which the
processor's cache holds few, and each turn of the event loop would be as long as all of them. So a few begin
in each turn. The others stay as they came, one piece of bytes each, in their order. Questions about health go
before them. Clients that have closed their direction go behind them: they have most likely given up. What
the application has no place for waits here as well, and is refused late if at all.

`turns.py` is the same file in `mapper/http/` and in `proto_model/serving/http/`, as are those that
`connection.py` names.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["HOLD_S", "PER_TURN", "Gate", "Turns"]

PER_TURN = 32  # requests that begin in one turn of the event loop
HOLD_S = 3.0  # then the application has to say what becomes of a request


class Gate(Protocol):
    """What a request has to pass in the application."""

    @property
    def room(self) -> int:
        """How many more may come before others should wait elsewhere."""


class Waiting(Protocol):
    """A connection with bytes of a request that has not begun."""

    loop: asyncio.AbstractEventLoop
    is_half_closed: bool

    def begin(self) -> None:
        """Begin with it, if the client is still there."""


class Turns:
    """The order of the requests of one event loop.

    `health` are paths that never wait. `gate_of` finds the gate of a request by its first bytes, None for
    those that need none.
    """

    def __init__(
        self, health: tuple[str, ...] = (), gate_of: Callable[[bytes], Gate | None] = lambda beginning: None
    ) -> None:
        self._health = tuple(f"GET {path}{end}".encode() for path in health for end in " ?")
        self._gate_of = gate_of
        self._left = PER_TURN
        self._waiting: deque[tuple[Waiting, bytes]] = deque()
        self._held: dict[Gate, deque[tuple[Waiting, float]]] = {}  # and since when
        self._late: deque[Waiting] = deque()  # clients that have most likely gone
        self._begun: Counter[Gate] = Counter()  # and perhaps not at their gate yet
        self._is_called = self._is_over = False

    def may_begin(self, connection: Waiting, beginning: bytes) -> bool:
        """Whether a request that has come may begin at once; otherwise `begin` is called when it may."""
        if self._is_over:
            return True
        if not self._left or self._waiting:
            if beginning.startswith(self._health):
                return True
            self._waiting.append((connection, beginning))
            return False
        if self._is_held(connection, beginning):
            return False
        self._left -= 1
        if not self._left or self._begun:  # with a few clients, a call for each request would be felt
            self._soon(connection.loop)
        return True

    def answered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say that there may be a place for what is held."""
        if self._held:
            self._soon(loop)

    def sweep(self, now: float) -> None:
        """Let those begin that are held for long."""
        for gate, held in list(self._held.items()):
            while held and held[0][1] + HOLD_S <= now:
                held.popleft()[0].begin()
            if not held:
                del self._held[gate]

    def settle(self) -> None:
        """Let everybody begin; from now on nobody waits."""
        self._is_over = True
        waiting = [connection for connection, _ in self._waiting]
        waiting += [connection for held in self._held.values() for connection, _ in held]
        waiting += self._late
        self._waiting.clear()
        self._held.clear()
        self._late.clear()
        for connection in waiting:
            connection.begin()

    def _soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_called:
            self._is_called = True
            loop.call_soon(loop.call_soon, self._next, loop)  # when those that begin now are at their gates

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let as many begin as have a turn."""
        self._is_called = False
        self._left = PER_TURN
        self._begun.clear()
        for gate, held in list(self._held.items()):
            while held and self._left and self._has_room(gate):
                self._begin(held.popleft()[0])
            if not held:
                del self._held[gate]
        while self._waiting and self._left:
            connection, beginning = self._waiting.popleft()
            if not self._is_held(connection, beginning):
                self._begin(connection)
        for _ in range(min(len(self._late), PER_TURN if self._left == PER_TURN else 1)):
            self._left -= 1
            self._late.popleft().begin()
        if self._left < PER_TURN:
            self._soon(loop)

    def _begin(self, connection: Waiting) -> None:
        """Let it begin, or give way to others."""
        if connection.is_half_closed:
            self._late.append(connection)
        else:
            self._left -= 1
            connection.begin()

    def _is_held(self, connection: Waiting, beginning: bytes) -> bool:
        """Whether the application has no place for a request; if so, it waits for one."""
        gate = self._gate_of(beginning)
        if gate is None or (gate not in self._held and self._has_room(gate)):
            return False
        self._held.setdefault(gate, deque()).append((connection, connection.loop.time()))
        return True

    def _has_room(self, gate: Gate) -> bool:
        """Whether one more may begin; counts it."""
        if gate.room <= self._begun[gate]:
            return False
        self._begun[gate] += 1
        return True
