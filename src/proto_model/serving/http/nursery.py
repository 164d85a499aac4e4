"""A process that forks processes which explain, so that they share the memory of the models that are served.

A process with threads cannot be forked safely. This one is forked before they begin, has none, and forks as
often as it is told: it makes the explainer first, which its children then have without a copy. They compute
with less priority than the process that answers. All of them end when that process is gone.

Every message is a length of 8 bytes and a pickle; the processes are of one user and one program.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ProtoModelError
from proto_model.model import Predictor
from proto_model.parameters import Parameters

logger = logging.getLogger(__name__)

NICE = 10  # a tenth of the share of a process that answers, where both want the same core
GRACE_S = 1.0  # what an explanation gets to say itself that time is over
LENGTH = struct.Struct("<Q")

Load = Callable[["Key"], Predictor]


class Key(NamedTuple):
    """Which model, and which of the versions that were on offer: 0 for one that stays."""

    place: int
    serial: int = 0


class Task(NamedTuple):
    """Rows to explain within some seconds."""

    key: Key
    matrix: NDArray[np.float64]
    parameters: Parameters
    seconds: float


class Wanted(NamedTuple):
    """A new process that explains, for a task of this model and engine."""

    key: Key
    engine: str


class NoProcessError(ProtoModelError):
    """No further process can be started; threads of the process that asks have to do."""


class ExplanationFault(ProtoModelError):
    """An explanation failed in a way that was not foreseen; the log says more."""


def fork_nursery(
    predictors: dict[Key, Predictor], load: Load, let_go: Callable[[], None] = lambda: None
) -> tuple[int, socket.socket]:
    """Process id of the nursery, and the socket that it takes `Wanted` and `Key` from.

    To be called before this process has threads. `load` gives the predictor of a key that is new. The nursery
    calls `let_go` first: afterwards nothing but `predictors` may hold a model there.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # our end is that of the socket
                signal.signal(number, signal.SIG_IGN)
            ours.close()
            let_go()
            _Nursery(theirs, predictors, load).run()
            code = 0
        except BaseException:
            logger.exception("The process that starts explainers failed")
        finally:
            logging.shutdown()
            os._exit(code)
    theirs.close()
    return pid, ours


class _Nursery:
    def __init__(self, control: socket.socket, predictors: dict[Key, Predictor], load: Load) -> None:
        self._control = control
        self._predictors = predictors  # the latest of each place
        self._load = load
        self._children: set[int] = set()

    def run(self) -> None:
        """Do what is asked until the process that asks is gone."""
        try:
            while (message := receive(self._control)) is not None:
                self._reap()
                if isinstance(message, Key):
                    self._exchange(message)
                else:
                    self._start(message)
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Let go of the children that have ended: only then may their numbers be used again."""
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._children.discard(pid)

    def _exchange(self, key: Key) -> None:
        """Hold this version from now on, with the explainers that the one before had."""
        if key in self._predictors:  # a request came first
            return
        engines = {engine for before in self._forget(key.place) for engine in before.engines}
        try:
            for engine in engines:
                self._held(key).explainer(engine)
        except (ProtoModelError, OSError, MemoryError) as error:  # said again when it is asked for
            logger.warning("The version with which to explain cannot be loaded: %s", error)

    def _held(self, key: Key) -> Predictor:
        """Predictor of a key, kept unless a later version is there: a request may have begun before that."""
        if key in self._predictors:
            return self._predictors[key]
        predictor = self._load(key)
        if all(one.serial < key.serial for one in self._predictors if one.place == key.place):
            self._forget(key.place)
            self._predictors[key] = predictor
        return predictor

    def _forget(self, place: int) -> list[Predictor]:
        return [self._predictors.pop(key) for key in list(self._predictors) if key.place == place]

    def _start(self, wanted: Wanted) -> None:
        """Fork a child, and send its socket with the keys that it holds, or the reason why there is none."""
        try:
            predictor = self._held(wanted.key)
            predictor.explainer(wanted.engine)
            gc.collect()
            gc.freeze()  # collections in the children touch none of the pages that all share
        except Exception as error:
            send(self._control, _portable(error))
            return
        held = self._predictors | {wanted.key: predictor}
        try:
            ours, theirs = socket.socketpair()
            pid = os.fork()
        except OSError as error:
            logger.error("No further process that explains can be started: %s", error)
            send(self._control, NoProcessError("No process can be started that explains."))
            return
        if pid == 0:
            self._control.close()
            theirs.close()
            self._children.clear()  # they are not ours to end
            os.nice(NICE)
            _explain(ours, held)
        ours.close()
        self._children.add(pid)
        send(self._control, frozenset(held))
        socket.send_fds(self._control, [b"."], [theirs.fileno()])
        theirs.close()


def _explain(link: socket.socket, predictors: Mapping[Key, Predictor]) -> NoReturn:
    """Answer tasks until the other side closes."""
    code = 0
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def go_on() -> None:
        if select.select([link], [], [], 0)[0]:  # nothing is sent while we are at work: it was closed
            os._exit(0)

    try:
        while (task := receive(link)) is not None:
            signal.setitimer(signal.ITIMER_REAL, task.seconds + GRACE_S)
            answer: Any
            try:
                explain = partial(predictors[task.key].explain, parameters=task.parameters, go_on=go_on)
                # One by one: the engine's threads for several rows would only wait for each other.
                answer = [explanation for row in task.matrix for explanation in explain(row[np.newaxis])]
            except Exception as error:
                answer = _portable(error)
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(link, answer)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except BaseException:
        logger.exception("A process that explains failed")
        code = 1
    finally:
        logging.shutdown()
        os._exit(code)


def _portable(error: Exception) -> Exception:
    """The error, or for one that was not foreseen, a plain one: the log has where, and no value of a row."""
    if isinstance(error, ProtoModelError | MemoryError | ModuleNotFoundError):
        return error
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("An explanation failed: %s in\n%s", type(error).__name__, where)
    return ExplanationFault("The explanation failed. The server's log says why.")


def send(link: socket.socket, content: Any) -> None:
    """Write a message."""
    body = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
    link.sendall(LENGTH.pack(len(body)) + body)


def receive(link: socket.socket) -> Any:
    """Read a message; None if the other side has closed."""
    head = _read(link, LENGTH.size)
    body = None if head is None else _read(link, LENGTH.unpack(head)[0])
    return None if body is None else pickle.loads(body)


def _read(link: socket.socket, n_bytes: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < n_bytes:
        part = link.recv(n_bytes - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
