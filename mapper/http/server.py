"""uvicorn's server with guarded connections, and the processes around it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from uvicorn.server import Server

from .connection import GuardedConfig, GuardedConnection, Limits, make_room
from .entrance import Entrance
from .health import HealthApp, HealthPages

__all__ = ["beside", "bind", "freeze", "run", "supervise"]

logger = logging.getLogger(__name__)

SWEEP_S = 0.5  # one timer for all connections: one each takes a tenth of a small request
RESTART_PAUSE_S = 1.0
SPARE_FILES = 256  # besides those of connections
MAX_WAITING = 4096  # connections for which there is no place yet
COLLECT_EVERY = 50_000  # objects more than there were
HEALTH_CONNECTIONS = 100  # on the port for health alone
HEALTH_TIMEOUT_S = 5.0
ENDING = (signal.SIGTERM, signal.SIGINT)
SO_ATTACH_FILTER = 26  # Linux
# Berkeley packet filter: drop what has the flag SYN, keep the rest.
NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class GuardedServer(Server):
    """uvicorn's server; looks after its connections, and ends when its supervisor is gone."""

    config: GuardedConfig

    def __init__(
        self,
        config: GuardedConfig,
        close: Callable[[], None],
        supervisor: int | None,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._close = close
        self._supervisor = supervisor
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        limits = self.config.limits
        n_waiting = _waiting_places(limits.max_connections)
        self._entrance = Entrance(sockets or [], self, n_waiting, limits.health, limits.tls)
        self.config.place_left = self._entrance.place_left
        self._sweep()
        self._begun()

    # What the entrance asks

    def n_free(self) -> int:
        """How many more connections there may be."""
        return self.config.limits.max_connections - len(self.server_state.connections)

    def make_room(self, n_wanted: int) -> int:
        """Close connections that are silent; how many."""
        return make_room(cast("set[GuardedConnection]", self.server_state.connections), n_wanted)

    def protocol(self, is_beyond: bool) -> GuardedConnection:
        """Of a new connection."""
        connection = GuardedConnection(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        connection.is_beyond = is_beyond
        return connection

    def n_answered(self) -> int:
        """How many answers have been given."""
        return self.config.n_answered

    def turned_away(self) -> bytes:
        """What a connection is told that has waited for a place in vain."""
        return self.config.limits.turned_away()

    def _sweep(self) -> None:
        for connection in list(cast("set[GuardedConnection]", self.server_state.connections)):
            connection.sweep()
        limits = self.config.limits
        limits.beat()
        self.config.turns.sweep(asyncio.get_running_loop().time())
        for files in (limits.access, limits.tls):
            if files is not None:
                files.refresh()
        if self._supervisor is not None and os.getppid() != self._supervisor:
            self.should_exit = True
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is on its way or at work. What takes too long is told that the server is ending."""
        asyncio.get_running_loop().call_later(self.config.limits.drain_timeout_s, self._close)
        self.config.is_stopping = True
        for connection in list(self.server_state.connections):
            connection.shutdown()
        self.config.turns.settle()
        for listener in sockets or []:
            _turn_away(listener)
        for _ in range(4):  # accept what has begun: time for a handshake
            self._entrance.settle()
            await asyncio.sleep(0.03)
        self._entrance.end()
        await super().shutdown(sockets)


def _turn_away(listener: socket.socket) -> None:
    """Let no further connection begin. Closing the socket resets those that begin meanwhile."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in NO_SYN))
    pointer = struct.pack("@HP", len(NO_SYN), ctypes.addressof(program))
    with contextlib.suppress(OSError):  # not in every sandbox
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Socket at an address, which does not listen yet. Workers that share it take theirs `beside` it.

    Raises
    ------
    OSError
        If the address is taken, or not one of this machine's.
    """
    if shared and port:  # who may share a port is not told that somebody else uses it
        _bound(host, port, False).close()
    return _bound(host, port, shared)


def beside(listener: socket.socket) -> socket.socket:
    """A further socket at the address of a shared one."""
    host, port = listener.getsockname()[:2]
    return _bound(host, port, True)


def _bound(host: str, port: int, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers take one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def run(
    app: Any,
    limits: Limits,
    listener: socket.socket,
    close: Callable[[], None],
    supervisor: int | None = None,
    health: tuple[HealthPages, socket.socket] | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT, or until the supervisor is gone, then finish what was begun.

    `close` is called when the time to finish is over, and in the end. `health` is answered until then.
    """
    config = GuardedConfig(app, limits)
    end_health: list[Callable[[], None]] = []

    def begun() -> None:
        if health is not None:
            pages, at = health
            end_health.append(_answer_beside(HealthApp(pages, app, asyncio.get_running_loop()), limits, at))

    server = GuardedServer(config, close, supervisor, begun)

    def stop(*_: object) -> None:
        """A signal before uvicorn has its handlers must not get lost, and one after them must not kill."""
        server.should_exit = True

    for number in ENDING:  # uvicorn raises the signal again after it has drained
        signal.signal(number, stop)
    config.load()
    _allow_files(limits.max_connections)
    freeze()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    for end in end_health:
        end()
    close()


def _answer_beside(app: Any, limits: Limits, listener: socket.socket) -> Callable[[], None]:
    """Answer in a thread of its own; gives what ends it."""
    config = GuardedConfig(
        app,
        replace(
            limits,
            max_connections=HEALTH_CONNECTIONS,
            request_timeout_s=min(limits.request_timeout_s, HEALTH_TIMEOUT_S),
            drain_timeout_s=0.1,
            health=(),
            beat=lambda: None,
            tls=None,
            gate_of=lambda beginning: None,
        ),
    )
    config.load()
    server = GuardedServer(config, lambda: None, None)

    def serve() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=serve, name="health", daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(HEALTH_TIMEOUT_S)

    return end


def _allow_files(n_connections: int) -> None:
    """Raise the limit of open files, which many systems set to 1024, for so many connections in use."""
    if sys.platform == "win32":
        return
    import resource

    needed = n_connections + SPARE_FILES
    wanted = needed + MAX_WAITING
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        logger.warning(
            "%d open files are allowed, %d needed for %d connections. Raise that limit, or lower this one.",
            allowed,
            needed,
            n_connections,
        )


def _waiting_places(n_connections: int) -> int:
    """How many connections may wait for a place: as many as the limit of open files leaves."""
    if sys.platform == "win32":
        return MAX_WAITING
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    left = MAX_WAITING if soft == resource.RLIM_INFINITY else soft - n_connections - SPARE_FILES
    return max(SPARE_FILES // 2, min(MAX_WAITING, left))


def freeze() -> None:
    """Keep what is loaded: no collection has to look at it again, nor touch pages that workers share.

    Collections become rare: what a request leaves is free at once, and a thousand of them at a time are no
    garbage. With the usual threshold, looking for some takes a tenth of the time then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


def supervise(
    work: Callable[[int, int], None],
    n_workers: int,
    ended: Callable[[int], None],
    passed_on: Sequence[int] = (),
) -> int:
    """Fork the workers, replace those that die, and pass signals on; the worst exit code.

    `work` is given a worker's number and the supervisor's process id; `ended` the process id of one that is
    gone. Workers take the signals in `passed_on` as they like, and go on.
    """
    supervisor = os.getpid()
    pids: dict[int, int] = {}
    ending = False

    def start(worker: int) -> None:
        # Neither shall miss a signal: the child not before it has handlers of its own, we not before its pid.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in ENDING:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                work(worker, supervisor)
                code = 0
            except BaseException:
                logger.exception("worker %d failed", worker)
            finally:
                logging.shutdown()
                os._exit(code)
        pids[pid] = worker
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        _signal(pids, signal.SIGTERM)

    for number in ENDING:
        signal.signal(number, end)
    for passed in passed_on:
        signal.signal(passed, lambda number, _: _signal(pids, number))
    for worker in range(n_workers):
        if not ending:
            start(worker)
    worst = 0
    while pids:
        pid, status = os.wait()
        if pid not in pids:  # the child of a worker that is gone: in a container, we are its next parent
            continue
        worker, code = pids.pop(pid), os.waitstatus_to_exitcode(status)
        ended(pid)
        if ending:
            worst = max(worst, 0 if code == -signal.SIGTERM else abs(code))
        else:
            logger.error("worker %d ended with %d; it is started again", worker, code)
            time.sleep(RESTART_PAUSE_S)
            if not ending:
                start(worker)
    return worst


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in list(pids):
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, number)
