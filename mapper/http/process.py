"""The process around the service: logging, start, workers, signals, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from mapper.errors import SettingsError
from mapper.http.settings import MapperSettings
from mapper.registry import PublishedModel, find_model

__all__ = ["run_service"]

logger = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0
WATCH_S = 0.5
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_service(settings: MapperSettings, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; give the exit status.

    Raises
    ------
    MapperError
        If the schema cannot be had, or the address is not free.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.raiseExceptions = False  # a closed stderr must not stop the service
    logging._srcfile = None  # no line of the log names the line of code, so it need not be looked for
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for sentence in MapperSettings.misspelt(environ):
        logger.warning(sentence)
    logger.info("settings: %s", settings.shown())
    published = find_model(settings.schema, settings.registry_url, environ)
    logger.info(
        "model: name=%s version=%s features=%d classes=%d schema_digest=%s",
        published.schema.model_name,
        published.version or "-",
        len(published.schema.features),
        len(published.schema.classes),
        published.schema.digest,
    )
    with _listening_socket(settings) as listener:
        if settings.workers == 1:
            listener.listen(1024)
            _run(_serve(settings, published, listener))
            return 0
        return _run_workers(settings, published, listener)


def _listening_socket(settings: MapperSettings) -> socket.socket:
    """Socket bound to the address; with several workers each binds one of its own beside it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.workers > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}. Choose another --port."
        ) from error
    return listener


async def _serve(
    settings: MapperSettings,
    published: PublishedModel,
    listener: socket.socket,
    supervisor: int | None = None,
) -> None:
    """Answer requests until a signal comes, or the supervisor is gone; then end what was begun."""
    from mapper.http.listener import Listener
    from mapper.http.service import MapperService

    service = MapperService(settings, published)
    clients = Listener(
        service.answer, settings.max_body_bytes, settings.body_timeout_s, settings.max_connections
    )
    await clients.open(listener)
    gc.freeze()  # what is loaded by now stays; the collector need not walk it again
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    host, port = listener.getsockname()[:2]
    shown_host = f"[{host}]" if ":" in host else host
    logger.info("listening on http://%s:%d", shown_host, port)
    watching = None if supervisor is None else loop.create_task(_watch(supervisor, stop))
    await stop.wait()
    if watching is not None:
        watching.cancel()
    logger.info("stopping; up to %g s for what has been begun", settings.drain_s)
    await clients.close(settings.drain_s)
    service.close()
    logger.info("stopped")


async def _watch(supervisor: int, stop: asyncio.Event) -> None:
    """Set `stop` when the process that forked this one is gone, by whatever signal."""
    while os.getppid() == supervisor:
        await asyncio.sleep(WATCH_S)
    stop.set()


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine by uvloop where it is installed, which is everywhere but on Windows."""
    new_loop = import_module("uvloop").new_event_loop if find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)


def _run_workers(settings: MapperSettings, published: PublishedModel, placeholder: socket.socket) -> int:
    """Fork the workers, start a new one when one dies, and stop them all on a signal."""
    host, port = placeholder.getsockname()[:2]
    with tempfile.TemporaryDirectory(prefix="mapper-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by prometheus_client, imported in the workers
        stopping = False
        workers: set[int] = set()

        def stop(*_: int | FrameType | None) -> None:
            nonlocal stopping
            stopping = True
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(pid, signal.SIGTERM)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        while not stopping and len(workers) < settings.workers:
            _fork_worker(workers, settings, published, host, port)
        while workers:
            pid, status = os.wait()
            if pid not in workers:
                continue
            workers.discard(pid)
            Path(folder, f"gauge_livesum_{pid}.db").unlink(missing_ok=True)  # what it did, it does no more
            if not stopping:
                logger.error("worker %d ended with status %d; starting another", pid, status)
                time.sleep(RESTART_PAUSE_S)
            if not stopping:
                _fork_worker(workers, settings, published, host, port)
    return 0


def _fork_worker(
    workers: set[int], settings: MapperSettings, published: PublishedModel, host: str, port: int
) -> None:
    """Add a new worker's process id; a signal in between waits until it can be handed on to the worker."""
    supervisor = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    if pid := os.fork():
        workers.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return
    status = 1
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        own = _listening_socket(_with_address(settings, host, port))
        own.listen(1024)
        _run(_serve(settings, published, own, supervisor))
        status = 0
    except Exception:
        logger.exception("worker failed")
    finally:
        os._exit(status)


def _with_address(settings: MapperSettings, host: str, port: int) -> MapperSettings:
    """The same settings with the port that was found free."""
    return dataclasses.replace(settings, host=host, port=port)
