"""The processes of a server as Linux shows them: who holds which connection, and what memory each has."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.soak.record import children, processes

LISTENS, ESTABLISHED = "0A", "01"  # in /proc/net/tcp
FOLLOWS = "proto_model.registry.follow"
N_READS = 3
CHANGED_S = 5.0  # longest wait for a process to stop, or to be gone


@dataclass(frozen=True)
class Kill:
    """A worker that was stopped, looked at, and killed.

    `held` are the ports of the clients whose connections it had, `queued` of those that no worker had
    accepted yet; from `stopped` on it answers nothing, and after `killed` it is gone.
    """

    server: str
    pid: int
    held: frozenset[int]
    queued: frozenset[int]
    stopped: float
    killed: float

    def took(self, port: int | None, opened: tuple[float, float], failed: float) -> bool:
        """Whether it took a connection along: a client's `port`, None if it got none, and when it was opened.

        Its own connections, those that nobody had accepted, and those that came while it stood still.
        """
        begin, end = opened
        if begin > self.killed or failed < self.stopped:
            return False
        return port in self.held or port in self.queued or end >= self.stopped


def kill(server: str, pid: int, port: int, kills: list[Kill]) -> None:
    """SIGKILL of a worker, whose connections do not change any more while they are looked at.

    The kill is among `kills` before any client can notice it, and once more when the worker is gone: until
    then it may be given new connections.
    """
    stopped = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        _wait_for(pid, "T")
        mine = _sockets(pid)
        # While it is read, Linux's list changes with every connection that ends, and may leave one out.
        peers = {peer for _ in range(N_READS) for peer in _peers(port)}
        held = frozenset(peer for peer, inode in peers if inode in mine)
        queued = frozenset(peer for peer, inode in peers if not inode)
        kills.append(Kill(server, pid, held, queued, stopped, float("inf")))
    finally:
        os.kill(pid, signal.SIGKILL)
    _wait_for(pid, "ZX")
    kills[-1] = replace(kills[-1], killed=time.monotonic())


def workers(root: int, port: int) -> list[int]:
    """Processes that a server's first one has started and that answer at a port, the oldest first."""
    listening = {inode for at, _, state, inode in _connections() if at == port and state == LISTENS}
    return sorted((pid for pid in children(root) if listening & _sockets(pid)), key=_started)


def follower(worker: int) -> int | None:
    """The process that follows aliases, if this worker keeps it."""
    return next((pid for pid in children(worker) if FOLLOWS in _command(pid)), None)


def board(worker: int) -> Path | None:
    """Folder in which the versions on offer are, by the descriptors of the worker that keeps its lock."""
    for name in _descriptors(worker):
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{worker}/fd/{name}").readlink()
            if path.name == "leader":
                return path.parent
    return None


def family(root: int) -> Iterator[tuple[str, int]]:
    """What each process of a server is, and its id: the first one, workers, and what workers started."""
    parents, _ = processes()
    yield "supervisor", root
    for worker in (pid for pid, parent in parents.items() if parent == root):
        yield "worker", worker
        for pid in (pid for pid, parent in parents.items() if parent == worker):
            yield "follower" if FOLLOWS in _command(pid) else "helper", pid


def memory(pid: int) -> tuple[int, int] | None:
    """Bytes of a process's memory, and those in which what several map counts for each in part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return None
    found = dict(re.findall(r"(?m)^(Rss|Pss): +(\d+) kB", text))
    return (1024 * int(found["Rss"]), 1024 * int(found["Pss"])) if len(found) == 2 else None


def _wait_for(pid: int, states: str) -> None:
    end = time.monotonic() + CHANGED_S
    while _stat(pid)[0] not in states and time.monotonic() < end:
        time.sleep(0.0005)


def _peers(port: int) -> Iterator[tuple[int, int]]:
    """Ports of the clients at a port, and the inodes of their connections; 0 until somebody accepts one."""
    for at, peer, state, inode in _connections():
        if at == port and state != LISTENS and (inode or state == ESTABLISHED):  # no longer, or not yet
            yield peer, inode


def _connections() -> Iterator[tuple[int, int, str, int]]:
    """Port, port of the other side, state and inode of each connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, at, peer, state, *rest = line.split()
        yield int(at.partition(":")[2], 16), int(peer.partition(":")[2], 16), state, int(rest[5])


def _sockets(pid: int) -> set[int]:
    """Inodes of a process's sockets."""
    inodes = set()
    for name in _descriptors(pid):
        with contextlib.suppress(OSError):
            kind, _, rest = os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")
            if kind == "socket":
                inodes.add(int(rest[:-1]))
    return inodes


def _descriptors(pid: int) -> Iterable[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended
        return ()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """State of a process and what follows it in the kernel's line."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ["X"]


def _started(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0
