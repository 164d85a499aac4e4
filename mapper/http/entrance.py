"""Accepts connections, and has those wait for which there is no place.

asyncio accepts as many connections at a time as have come, uvloop (libuv) one per turn of its loop: behind a
thousand clients that ask all the time, the next one waits for minutes, health probes too. So connections are
accepted here.

Those for which there is no place are accepted all the same, and wait outside the server's protocol, where one
costs a socket. A place goes to those that have sent the head of a request, in their order, as soon as one is
free or a silent connection gives way. A question about health needs none. Who has waited for long is refused
with bytes that are ready, a few for each answer: clients that ask again at once do not keep the server from
answering the others. When even the waiting places are taken, the system keeps the rest.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import selectors
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, cast

from .certificates import HELLO, NOT_TLS, Certificates

__all__ = ["BURST", "LEAST_PER_S", "MAX_WAIT_S", "PER_ANSWER", "Entrance", "Places"]

logger = logging.getLogger(__name__)

BACKLOG = 4096
ACCEPTED_AT_A_TIME = 256
TICK_S = 0.05
WAIT_S = 0.5  # for a place
LOOK_AGAIN_S = 0.25  # for silent connections, if there were none: all have to be looked at
MAX_WAIT_S = 5.0  # for a refusal
WARN_EVERY_S = 10.0
BURST = 50.0  # refusals that are sent at once
PER_ANSWER = 0.1  # refusals go out for each answer
LEAST_PER_S = 20  # refusals, where nothing is answered
LINGER_S = 1.0  # more of a refused request may be on its way: closing at once would reset the answer
HANDSHAKE_TIMEOUT_S = 10.0  # of TLS
SPARE = 32  # places beyond the limit, for questions about health
PEEK_BYTES = 2048  # which has more than that in its head has said enough
CHECKED_PER_TICK = 100  # of those that have sent part of a head
DRAIN_BYTES = 64 * 1024
RECORD_HEAD = 5  # bytes of a TLS record before its content; the last two are its length
# The connection has ended already, or the network is to blame: the next one may be well.
PASSING = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
)


class Places(Protocol):
    """The connections that are in use."""

    def n_free(self) -> int:
        """How many more there may be; less than none if there are connections beyond the limit."""

    def make_room(self, n_wanted: int) -> int:
        """Close connections that are silent, about as many as are wanted; how many."""

    def protocol(self, is_beyond: bool) -> asyncio.Protocol:
        """Of a new connection, which may be one beyond the limit."""

    def n_answered(self) -> int:
        """How many answers have been given."""

    def turned_away(self) -> bytes:
        """What a connection is told that has waited in vain; counts it."""


class Entrance:
    """The way into one server, from its listeners."""

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        places: Places,
        n_waiting: int,
        health: tuple[str, ...] = (),
        tls: Certificates | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = list(listeners)
        self._places = places
        self._n_waiting = n_waiting
        self._health = tuple(f"GET {path}{end}".encode() for path in health for end in " ?")
        self._tls = tls
        self._is_open = False
        self._connecting: dict[asyncio.Task[None], float] = {}  # and since when, in their order
        self._silent = selectors.DefaultSelector()
        self._partial: deque[tuple[socket.socket, float]] = deque()  # they have sent part of a head
        self._asking: deque[tuple[socket.socket, float]] = deque()  # and since when
        self._refused: deque[tuple[socket.socket, float]] = deque()  # and until when they linger
        self._credit, self._n_answered = BURST, 0
        self._look_again = 0.0
        self._ticking: asyncio.TimerHandle | None = None
        self._warned_at = -WARN_EVERY_S
        self._is_called = False
        self._is_ending = self._is_over = False
        if self._tls is not None and hasattr(self._silent, "fileno"):  # all wait for the first bytes there
            self._loop.add_reader(self._silent.fileno(), self._look)
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)
        self._open()

    def place_left(self) -> None:
        """To be called when a connection has ended."""
        if not self._is_called and not self._is_over and self._n_parked():
            self._is_called = True
            self._loop.call_soon(self._let_in)

    def settle(self) -> None:
        """Let everybody in who waits, or has begun to connect; from now on nobody waits."""
        self._is_ending = True
        for listener in self._listeners:
            self._accept(listener)
        while self._n_parked():
            self._connect(self._next())

    def end(self) -> None:
        """Close what is left."""
        self._close()
        if self._ticking is not None:
            self._ticking.cancel()
        for task in self._connecting:
            task.cancel()
        while self._n_parked():
            self._next().close()
        for client, _ in self._refused:
            client.close()
        self._is_over = True
        if self._tls is not None and hasattr(self._silent, "fileno"):
            self._loop.remove_reader(self._silent.fileno())
        self._silent.close()

    # Accepting

    def _open(self) -> None:
        if not self._is_open:
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._accept, listener)
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())
        self._is_open = False

    def _accept(self, listener: socket.socket) -> None:
        """Accept who has come; whoever finds no place waits."""
        for _ in range(ACCEPTED_AT_A_TIME):
            try:
                client, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in PASSING:
                    continue
                self._pause(error)
                break
            client.setblocking(False)
            if self._is_ending or (self._tls is None and not self._asking and self._n_free() > 0):
                self._connect(client)
            else:
                self._park(client)
        if self._n_parked():
            self._tick_soon()
            if self._is_full():
                self._thin_out()

    def _pause(self, error: OSError) -> None:
        """Too many files are open, or memory is short: who is silent goes, and the system keeps the rest."""
        now = self._loop.time()
        if now >= self._warned_at + WARN_EVERY_S:
            self._warned_at = now
            logger.warning("A connection could not be accepted: %s.", error.strerror)
        self._thin_out()
        self._close()
        self._tick_soon()

    def _n_free(self) -> int:
        return self._places.n_free() - len(self._connecting)

    def _connect(self, client: socket.socket, is_beyond: bool = False) -> None:
        task = self._loop.create_task(self._connected(client, is_beyond))
        self._connecting[task] = self._loop.time()
        task.add_done_callback(self._has_connected)

    async def _connected(self, client: socket.socket, is_beyond: bool) -> None:
        context = None if self._tls is None else self._tls.context()
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._places.protocol(is_beyond),
                client,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_TIMEOUT_S,
            )
        except OSError:  # it has gone, or does not speak TLS
            client.close()
        except asyncio.CancelledError:
            client.close()
            raise

    def _has_connected(self, task: asyncio.Task[None]) -> None:
        del self._connecting[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A connection failed: %r", error)
        self.place_left()

    # Waiting

    def _n_parked(self) -> int:
        return len(self._asking) + len(self._partial) + len(self._silent.get_map())

    def _is_full(self) -> bool:
        return self._n_parked() + len(self._refused) >= self._n_waiting

    def _park(self, client: socket.socket) -> None:
        now = self._loop.time()
        if not self._has_asked(client, now):
            self._silent.register(client, selectors.EVENT_READ, now)

    def _has_asked(self, client: socket.socket, since: float) -> bool:
        """Whether a connection that waits has sent something, or has ended; if so, what follows is done."""
        try:
            beginning = client.recv(PEEK_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            beginning = b""
        if not beginning:
            client.close()
        elif self._tls is not None and beginning[0] != HELLO:
            self._end_with(client, NOT_TLS)
        elif not self._has_begun(beginning):
            self._partial.append((client, since))
        elif self._tls is not None and not self._asking and self._n_free() > 0:
            self._connect(client)
        elif self._tls is None and beginning.startswith(self._health) and self._places.n_free() > -SPARE:
            self._connect(client, is_beyond=True)
        else:
            self._asking.append((client, self._loop.time()))
        return True

    def _has_begun(self, beginning: bytes) -> bool:
        """Whether the head of a request, or TLS's first message, is whole."""
        if len(beginning) == PEEK_BYTES:
            return True
        if self._tls is None:
            return b"\r\n\r\n" in beginning
        length = int.from_bytes(beginning[RECORD_HEAD - 2 : RECORD_HEAD])
        return len(beginning) >= RECORD_HEAD + length

    def _next(self) -> socket.socket:
        """Whose turn it is: the connection that has waited longest, and silent ones last."""
        if self._asking:
            return self._asking.popleft()[0]
        return self._oldest()

    def _oldest(self) -> socket.socket:
        """The one that has been there for longest without asking anything."""
        silent = next(iter(self._silent.get_map().values()), None)
        if silent is None or (self._partial and self._partial[0][1] < silent.data):
            return self._partial.popleft()[0]
        self._silent.unregister(silent.fileobj)
        return cast("socket.socket", silent.fileobj)

    def _thin_out(self) -> None:
        """Close some that have not asked anything; if there are none, let the system keep who comes."""
        n_idle = self._n_parked() - len(self._asking)
        if not n_idle:
            self._close()
        for _ in range(min(n_idle, 1 + self._n_parked() // 20)):
            self._oldest().close()

    def _tick_soon(self) -> None:
        if self._ticking is None:
            self._ticking = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        """See who has asked meanwhile, make room for them, and refuse those that have waited for long."""
        self._ticking = None
        now = self._loop.time()
        self._look()
        for _ in range(min(len(self._partial), CHECKED_PER_TICK)):
            self._has_asked(*self._partial.popleft())
        n_leaving = 0
        if self._asking and self._n_free() < len(self._asking):
            n_leaving = self._make_room(len(self._asking) - max(0, self._n_free()))
        self._let_in()
        n_answered = self._places.n_answered()
        self._credit = min(BURST, self._credit + PER_ANSWER * (n_answered - self._n_answered))
        self._credit = max(self._credit, LEAST_PER_S * TICK_S)
        self._n_answered = n_answered
        # Room is being made for these: their places are free in a moment.
        next_in = [self._asking.popleft() for _ in range(min(n_leaving, len(self._asking)))]
        while self._asking and self._asking[0][1] + (WAIT_S if self._credit >= 1 else MAX_WAIT_S) <= now:
            self._credit = max(0.0, self._credit - 1)
            self._refuse(self._asking.popleft()[0])
        self._asking.extendleft(reversed(next_in))
        while self._refused and self._refused[0][1] <= now:
            _drain(self._refused.popleft()[0])
        if not self._is_full() and not self._is_ending:
            self._open()
        if self._n_parked() or self._refused or not self._is_open:
            self._tick_soon()

    def _look(self) -> None:
        """See which of the silent ones have sent something."""
        if self._silent.get_map():
            for key, _ in self._silent.select(0):
                self._silent.unregister(key.fileobj)
                self._has_asked(cast("socket.socket", key.fileobj), key.data)

    def _make_room(self, n_wanted: int) -> int:
        """Have silent connections give way, and those that are slow to begin with TLS; how many of these."""
        now = self._loop.time()
        late = now - WAIT_S
        slow = [task for task, since in self._connecting.items() if since < late and self._tls is not None]
        for task in slow[:n_wanted]:
            task.cancel()
        if self._look_again <= now and not self._places.make_room(n_wanted):
            self._look_again = now + LOOK_AGAIN_S
        return len(slow[:n_wanted])

    def _let_in(self) -> None:
        self._is_called = False
        while (self._asking if self._tls else self._n_parked()) and self._n_free() > 0:
            self._connect(self._next())

    def _refuse(self, client: socket.socket) -> None:
        """Tell it so, and close the connection when it has read that."""
        answer = self._places.turned_away()
        self._end_with(client, answer if self._tls is None else b"")

    def _end_with(self, client: socket.socket, answer: bytes) -> None:
        """Send an answer, and close the connection a little later."""
        try:
            if answer:
                client.recv(DRAIN_BYTES)
                client.send(answer)
            client.shutdown(socket.SHUT_WR)
        except OSError:  # it has gone
            client.close()
        else:
            self._refused.append((client, self._loop.time() + LINGER_S))
            self._tick_soon()


def _drain(client: socket.socket) -> None:
    """Close a connection, of which nothing is left to be read: that would reset it."""
    with suppress(OSError):
        client.recv(DRAIN_BYTES)
    client.close()
