"""What an operator may change of the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proto_model.errors import CallerError
from proto_model.forest import n_cores
from proto_model.serving.http.certificates import Protection

# Settings that are numbers, with the smallest value that makes sense and what they are.
NUMBERS: dict[str, tuple[type, float, str]] = {
    "workers": (int, 1, "processes that share the port"),
    "max_body_bytes": (int, 1, "largest body of a request"),
    "max_bodies_bytes": (int, 1, "bytes of all larger bodies in memory at a time in each process"),
    "max_rows": (int, 1, "most rows in one request"),
    "body_timeout_s": (float, 0.001, "seconds that a request may take to arrive"),
    "answer_timeout_s": (float, 0.001, "seconds that an answer may take, waiting included"),
    "drain_timeout_s": (float, 1, "seconds that shutdown waits for running requests"),
    "explainers": (int, 0, "processes that explain, shared by the workers; 0: threads explain"),
    "threads": (
        int,
        1,
        "large bodies processed at once in each process; without explainers, explanations too",
    ),
    "max_waiting": (int, 0, "large bodies, and explanations, that may wait in each process"),
    "max_connections": (int, 1, "connections in use at a time in each process"),
    "max_files": (int, 1, "most files in one request, for a model for files"),
    "file_jobs": (int, 1, "requests for files at work at a time in each process"),
    "max_waiting_files": (int, 0, "requests for files that may wait in each process"),
    "file_timeout_s": (float, 0.001, "seconds that a request for files may take, waiting included"),
}


# Elsewhere, a process that is forked cannot use the libraries that its parent has used.
CAN_EXPLAIN_APART = sys.platform == "linux"


class ServerSettingsError(CallerError):
    """A setting of the server is not known, or has a wrong value."""


def number(value: Any, kind: type, least: float) -> float | None:
    """A finite number that is not less than another, of a number or a text; None for everything else."""
    try:
        read = float("nan") if isinstance(value, bool) else kind(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if kind is int and isinstance(value, float) and read != value:
        return None
    return read if least <= read < float("inf") else None


@dataclass(frozen=True)
class ServerSettings:
    """Where to listen, and the limits of one server; `NUMBERS` says what they are.

    Each of the workers has threads and limits of its own.
    """

    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    max_body_bytes: int = 64 * 1024 * 1024
    max_bodies_bytes: int = 512 * 1024 * 1024
    max_rows: int = 250_000
    body_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    drain_timeout_s: float = 25.0  # Kubernetes waits 30 before it kills
    explainers: int = field(default_factory=lambda: n_cores() if CAN_EXPLAIN_APART else 0)
    threads: int = 2
    max_waiting: int = 32
    max_connections: int = 4096
    max_files: int = 1000
    file_jobs: int = 2  # each of them uses all cores
    max_waiting_files: int = 16
    file_timeout_s: float = 4 * 3600.0
    access_log: bool = False
    health_port: int = 0  # 0: none
    protection: Protection = field(default_factory=Protection)
    allowed_hosts: tuple[str, ...] = ()  # besides the address; names, `*.example.com`, or `*`

    @property
    def n_processes(self) -> int:
        """Processes that may share the models: one that answers alone may read them by itself."""
        return self.workers + self.explainers

    @classmethod
    def of_numbers(cls, values: Mapping[str, Any], where: str) -> ServerSettings:
        """Settings of which some numbers are given, by name in small or capital letters.

        Messages of a ServerSettingsError call a setting by `where` and its name.
        """
        known: dict[str, Any] = {}
        for name, value in values.items():
            key = name.lower()
            if key not in NUMBERS:
                raise ServerSettingsError(f"{where}{name} is not known. Known are: {', '.join(NUMBERS)}.")
            kind, least, _ = NUMBERS[key]
            known[key] = number(value, kind, least)
            if known[key] is None:
                raise ServerSettingsError(f"{where}{name} is {value!r}, {expected(kind, least)} expected.")
        return cls(**known)


def expected(kind: type, least: float) -> str:
    """What a number has to be, in words."""
    return f"{'a whole number' if kind is int else 'a number'} from {least}"
