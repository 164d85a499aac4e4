"""Processes that outlive the command which starts them, and are never mistaken for others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from proto_model.deployment.plugin.records import Process

_PROC = Path("/proc")
_BOOT = _PROC / "sys" / "kernel" / "random" / "boot_id"
_PAUSE_S = 0.05
_KILLED_S = 10.0


def started(pid: int) -> str:
    """When a process began, so that its number can be told from the same one later; empty if it has ended."""
    return _started_by_proc(pid) if _BOOT.exists() else _started_by_ps(pid)


def _started_by_proc(pid: int) -> str:
    try:
        # The name of the program, in parentheses, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # Ticks since the machine began: another boot has the same ones.
    return "" if fields[0] in "ZX" else f"{_BOOT.read_text().strip()} {fields[19]}"


def _started_by_ps(pid: int) -> str:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}).stdout
    state, _, start = said.strip().partition(" ")
    return "" if state.startswith("Z") else " ".join(start.split())


def spawn(command: list[str], environment: Mapping[str, str], log: Path, port: int) -> Process:
    """Start a process in a session of its own, which a closed terminal does not end."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
                (os.POSIX_SPAWN_DUP2, descriptor, 2),
            ],
        )
    finally:
        os.close(descriptor)
    return Process(pid, started(pid), port)


def runs(process: Process | None) -> bool:
    """Whether this very process is still there."""
    if process is None:
        return False
    with contextlib.suppress(ChildProcessError):  # started by another command
        os.waitpid(process.pid, os.WNOHANG)
    return process.started != "" and started(process.pid) == process.started


def tell(process: Process, number: signal.Signals) -> None:
    """Send a signal to this very process; nothing if it has ended."""
    if not hasattr(os, "pidfd_open"):  # macOS
        if runs(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor keeps what was looked at, even if the number is given to another one now.
        if runs(process):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def stop(process: Process | None, drain_s: float, whole_session: bool = False) -> bool:
    """End a process with SIGTERM, and with SIGKILL when it takes too long; whether it ended by itself."""
    if process is None or not runs(process):
        return True
    if whole_session:
        _tell_session(process, signal.SIGTERM)
    else:
        tell(process, signal.SIGTERM)
    if _gone(process, drain_s):
        return True
    _tell_session(process, signal.SIGKILL)
    _gone(process, _KILLED_S)
    return False


def _tell_session(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process and those that it started: its session has nobody else."""
    if runs(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _gone(process: Process, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while runs(process):
        if time.monotonic() >= end:
            return False
        time.sleep(_PAUSE_S)
    return True
