"""Programs that the demo runs: in the foreground, or as servers that end when it does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

console = Console(stderr=True)


class DemoError(Exception):
    """A step of the demo failed; the message says which, and where its output is."""


def interrupt_on_signals() -> None:
    """End the program by KeyboardInterrupt, and thereby its servers, on any signal to end."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def step(
    command: list[str], *, cwd: Path, env: dict[str, str], accepted: tuple[int, ...] = (0,), **options: Any
) -> int:
    """Exit code of a command that is run in the foreground, its output going straight to the terminal."""
    console.print(f"[dim]$ {escape(' '.join(_shown(part) for part in command))}[/dim]")
    process = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **options)
    try:
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if code not in accepted:
        raise DemoError(
            f"`{_shown(command[0])} {' '.join(command[1:3])} ...` failed with exit code {code}; see above."
        )
    return code


@contextlib.contextmanager
def server(command: list[str], ready_url: str, log: Path, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """A server that is ready at a URL while the context is open; its output goes to `log`.

    Ready is what answers 200 to http, or has its port open at a URL such as `tcp://127.0.0.1:9000`.
    """
    console.print(f"[dim]$ {escape(' '.join(_shown(part) for part in command))}[/dim]")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with console.status(f"Waiting for {ready_url}"):
            deadline = time.monotonic() + START_TIMEOUT_S
            while not _answers(ready_url):
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    raise DemoError(f"No answer from {ready_url}. The last lines of {log}:\n{tail}")
                time.sleep(0.1)
        console.print(f"[green]ready[/green] {ready_url}")
        yield
    finally:
        _stop(process)
        _wait_until_closed(ready_url)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, which share its process group: politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:  # a child may outlive its parent; the group tells
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return


def _wait_until_closed(url: str) -> None:
    """Return once nothing listens at a URL's port: a killed process closes its sockets a moment later."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _is_open(url):
        if time.monotonic() > deadline:
            raise DemoError(f"A server that was stopped still listens at {url}.")
        time.sleep(0.02)


def _is_open(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname or HOST, address.port or 80)) == 0


def _answers(url: str) -> bool:
    if url.startswith("tcp:"):
        return _is_open(url)
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def free_port(wanted: int, purpose: str) -> int:
    """The wanted port, or any free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                console.print(f"Port {wanted} is in use; the {purpose} uses another one.")
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"No free port on {HOST} for the {purpose}.")


def _shown(part: str) -> str:
    """A command's part as a reader would type it."""
    for prefix, short in ((sys.executable, "python"), (f"{ROOT}{os.sep}", "")):
        part = part.replace(prefix, short)
    return part


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Begin the clean-up, and let no second Ctrl-C cut it short: it would leave servers behind."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt
