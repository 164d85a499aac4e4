"""Flags that say which Spark to use, and how a command that uses it ends."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from proto_model.cli.exit_code import DONE, exit_code
from proto_model.spark.scoring.session import SPARK_LOG_LEVELS, SessionOptions

_DEFAULTS: dict[str, Any] = {"master": None, "remote": None, "conf": [], "spark_log": "off"}


def add_session(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which Spark to use."""
    group = parser.add_argument_group("Spark")
    group.add_argument("--master", metavar="URL", help="such as local[4], spark://host:7077, yarn, k8s://…")
    group.add_argument("--remote", metavar="sc://HOST:PORT", help="address of a Spark Connect server")
    group.add_argument(
        "--conf", action="append", default=[], metavar="K=V", help="setting of Spark's; may be repeated"
    )
    group.add_argument(
        "--spark-log", choices=SPARK_LOG_LEVELS, default="off", help="Spark's own log (default: %(default)s)"
    )


def given_session(arguments: argparse.Namespace) -> SessionOptions:
    """What the flags say; raises InputError if they do not fit each other."""
    return SessionOptions.of(arguments.master, arguments.remote, arguments.conf, arguments.spark_log)


def session_flags(arguments: argparse.Namespace) -> list[str]:
    """Names of the flags that were given."""
    given = [name for name, default in _DEFAULTS.items() if getattr(arguments, name) != default]
    return [f"--{name.replace('_', '-')}" for name in given]


def spark_exit_code(work: Callable[[], None]) -> int:
    """Exit code of work with Spark, and a sentence on stderr about what went wrong; SIGTERM is as Ctrl-C."""

    def run() -> int:
        with _terminated_is_interrupted():
            work()
        return DONE

    return exit_code(run)


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, which Kubernetes and systemd send, ends the work in order as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
