"""What an operator may change of the server."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerSettings"]


@dataclass(frozen=True)
class ServerSettings:
    """Where to listen, and the limits of one server.

    Parameters
    ----------
    host, port : str, int
        Where to listen; port 0 takes any that is free.
    workers : int
        Processes that share the port; each has its own threads and limits.
    max_body_bytes : int
        Longest body that is taken.
    max_rows : int
        Most rows that one request may have.
    body_timeout_s : float
        Longest time for a body to arrive.
    answer_timeout_s : float
        Longest time for an answer, waiting included.
    drain_timeout_s : float
        Longest time that requests at work get to finish when the server is told to end.
    threads : int
        Large bodies worked on at a time; as many explanations besides. Small bodies take no thread.
    max_waiting : int
        Large bodies, and explanations, that may wait for a thread.
    max_connections : int
        Connections open at a time; further ones are turned away.
    access_log : bool
        Whether to write a line per request.
    """

    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    max_body_bytes: int = 64 * 1024 * 1024
    max_rows: int = 250_000
    body_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    drain_timeout_s: float = 30.0
    threads: int = 2
    max_waiting: int = 32
    max_connections: int = 1000
    access_log: bool = False
