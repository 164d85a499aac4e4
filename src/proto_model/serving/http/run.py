"""The server's processes: sockets, workers, signals."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

from proto_model.errors import ProtoModelError
from proto_model.serving.http.app import App
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.settings import ServerSettings

__all__ = ["AddressError", "bound", "serve"]

logger = logging.getLogger(__name__)

# A thread that computes lets go of the interpreter after this time; by default a row waits 5 ms for it.
SWITCH_INTERVAL_S = 0.0005
RESTART_PAUSE_S = 1.0
# Between telling what is still at work to end, so that its client gets an answer, and the end.
LAST_S = 3
ENDING = (signal.SIGTERM, signal.SIGINT)


class AddressError(ProtoModelError):
    """The server cannot listen where it was told to."""


def bound(settings: ServerSettings) -> socket.socket:
    """Socket at the address of the settings, which does not listen yet.

    Raises
    ------
    AddressError
        If the address is taken, or not one of this machine's.
    """
    shared = settings.workers > 1
    try:
        if shared and settings.port:
            # Who may share a port is not told that somebody else uses it.
            _bound(settings.host, settings.port, shared=False).close()
        return _bound(settings.host, settings.port, shared)
    except OSError as error:
        raise AddressError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another port with -p."
        ) from error


def serve(model: ServedModel, settings: ServerSettings, listener: socket.socket) -> int:
    """Answer until SIGTERM or SIGINT, then finish what was begun; the process's exit code.

    Parameters
    ----------
    model : ServedModel
        The model; workers share its memory.
    settings : ServerSettings
        Workers and limits.
    listener : socket
        From `bound`.
    """
    metrics = Metrics(model.schema, model.version, settings.workers)
    _freeze()
    if settings.workers == 1:
        return _work(model, settings, metrics, listener)
    address = listener.getsockname()
    supervisor = os.getpid()

    def work(worker: int) -> int:
        metrics.use(worker)
        own = _bound(address[0], address[1], shared=True)
        return _work(model, settings, metrics, own, supervisor)

    return _supervise(work, settings.workers)


def _work(
    model: ServedModel,
    settings: ServerSettings,
    metrics: Metrics,
    listener: socket.socket,
    supervisor: int | None = None,
) -> int:
    """Answer in this process until a signal comes, or the supervisor, if there is one, is gone."""
    from uvicorn.config import Config
    from uvicorn.server import Server

    # uvicorn raises the signal again after it has drained; that shall not kill.
    for number in ENDING:
        signal.signal(number, lambda *_: None)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = App(model, settings, metrics)
    config = Config(
        app,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        http="httptools" if find_spec("httptools") else "h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=75,  # longer than clients and balancers keep idle connections
        timeout_graceful_shutdown=round(settings.drain_timeout_s) + LAST_S,
        timeout_notify=1,
    )

    class DrainingServer(Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Let requests at work finish, or else answer that the server is ending."""
            asyncio.get_running_loop().call_later(settings.drain_timeout_s, app.close)
            await super().shutdown(sockets)

    server = DrainingServer(config)
    config.load()
    _freeze()

    async def end_if_alone() -> None:
        if os.getppid() != supervisor:
            server.should_exit = True

    if supervisor is not None:
        config.callback_notify = end_if_alone
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    app.close()
    return 0


def _freeze() -> None:
    """Keep what is loaded: no collection has to look at it again, nor touch pages that workers share."""
    gc.collect()
    gc.freeze()


def _supervise(work: Callable[[int], int], n_workers: int) -> int:
    """Fork the workers, replace those that die, and pass signals on; the worst exit code."""
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
                code = work(worker)
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
        for pid in pids:
            os.kill(pid, signal.SIGTERM)

    for number in ENDING:
        signal.signal(number, end)
    for worker in range(n_workers):
        if not ending:
            start(worker)
    worst = 0
    while pids:
        pid, status = os.wait()
        worker = pids.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if ending:
            worst = max(worst, 0 if code == -signal.SIGTERM else abs(code))
        else:
            logger.error("worker %d ended with %d; it is started again", worker, code)
            time.sleep(RESTART_PAUSE_S)
            if not ending:
                start(worker)
    return worst


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
