"""Ports for servers that the tests start."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

# Below those that systems give to whoever asks for any port (Linux from 32768): nobody takes one of these in
# the minutes between its choice and the start of its server.
LOWEST, HIGHEST = 20_000, 32_000

_numbers = itertools.count(os.getpid() * 101)  # each process of the tests in a stretch of its own


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, each given once."""
    found: list[int] = []
    while len(found) < count:
        port = LOWEST + next(_numbers) % (HIGHEST - LOWEST)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found.append(port)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
