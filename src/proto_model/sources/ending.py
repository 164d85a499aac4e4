"""The end of a process with all that it started, also of what left its session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

MARK = "PROTO_MODEL_SOURCE_PROCESS"
"""Environment variable by which the descendants of a process are known."""

_PROC = Path("/proc")
_ENDING_S = 3.0
_ROUNDS = 20


def end_all(process: subprocess.Popen[Any], mark: str) -> None:
    """Kill a process that leads a session, that session, and what left it but kept the mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING_S)
    for _ in range(_ROUNDS):
        left = _marked(f"{MARK}={mark}".encode())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(mark: bytes) -> list[int]:
    """Processes that have a mark in their environment; none where the system does not tell."""
    found = []
    for path in _PROC.glob("[0-9]*/environ") if _PROC.exists() else ():
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
