"""Explanations by processes of their own, so that they use all cores and no other request waits for them."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.interface import Explanations
from proto_model.model import Predictor
from proto_model.parameters import Parameters
from proto_model.serving.http.nursery import (
    LENGTH,
    ExplanationFault,
    Key,
    Load,
    NoProcessError,
    Task,
    Wanted,
    fork_nursery,
    receive,
    send,
)

__all__ = ["Explainers", "NoProcessError"]

logger = logging.getLogger(__name__)

ROWS_PER_TASK = 8  # at most
TRIES = 2  # of a task whose process dies: perhaps somebody else made memory run out
END_S = 2.0
START_S = 60.0  # for a library of explanations to be imported


class Explainers:
    """At most so many processes that explain, started when they are needed.

    To be made before this process has threads; see `fork_nursery` for the arguments. `died` is called for
    each process that ended by itself.
    """

    def __init__(
        self,
        n_processes: int,
        predictors: dict[Key, Predictor],
        load: Load,
        let_go: Callable[[], None] = lambda: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self._pid, self._control = fork_nursery(predictors, load, let_go)
        self._control.settimeout(START_S)
        self._controlling = threading.Lock()
        self._died = died
        self._n_processes = n_processes
        self._places = asyncio.Semaphore(n_processes)
        self._idle: list[_Process] = []
        self._n_requests: Counter[Key] = Counter()
        self._latest: dict[int, Key] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether there is a process that starts others."""
        return self._is_open

    async def explain(
        self, key: Key, matrix: NDArray[np.float64], parameters: Parameters, seconds: float
    ) -> Explanations:
        """Explanation of each row of a matrix, as `Predictor.explain` gives it.

        Rows are shared out to the processes that are free, a few at a time, so that a request with many does
        not hold up the others. Work whose answer nobody awaits any more ends.

        Raises
        ------
        NoProcessError
            If no process can be started.
        ExplanationFault
            If the processes end by themselves, or fail.
        """
        self._loop = asyncio.get_running_loop()
        self._n_requests[key] += 1
        try:
            return await self._shared_out(key, matrix, parameters, seconds)
        finally:
            self._n_requests -= Counter([key])  # keeps no zeros
            self._retire()

    def exchange(self, key: Key) -> None:
        """Have this version's requests come from now on; safe to call from any thread."""
        with self._controlling, suppress(OSError):  # said when the next process is wanted
            send(self._control, key)
        self._latest[key.place] = key
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._retire)

    def close(self) -> None:
        """End the processes, when the event loop has ended."""
        self._is_open = False
        self._control.close()  # upon which the one that started the others ends them
        patience = time.monotonic() + END_S
        with suppress(ChildProcessError):
            while not os.waitpid(self._pid, os.WNOHANG)[0]:
                if time.monotonic() > patience:  # it may wait for a disk
                    os.kill(self._pid, signal.SIGKILL)
                time.sleep(0.01)

    async def _shared_out(
        self, key: Key, matrix: NDArray[np.float64], parameters: Parameters, seconds: float
    ) -> Explanations:
        n_rows = max(1, min(ROWS_PER_TASK, -(-len(matrix) // self._n_processes)))
        starts = range(0, len(matrix), n_rows)
        tasks = [Task(key, matrix[i : i + n_rows], parameters, seconds) for i in starts]
        if len(tasks) == 1:
            return await self._explained(tasks[0])
        explanations: list[Explanations] = [[]] * len(tasks)
        left = iter(enumerate(tasks))

        async def share() -> None:
            for place, task in left:
                explanations[place] = await self._explained(task)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._n_processes, len(tasks))):
                    group.create_task(share())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [explanation for part in explanations for explanation in part]

    async def _explained(self, task: Task) -> Explanations:
        for _ in range(TRIES):
            async with self._places:
                process = await self._process(task)
                try:
                    answer = await process.answer(task)
                except (EOFError, ConnectionError):  # asyncio.IncompleteReadError is an EOFError
                    process.close()
                    self._died()
                    logger.error("A process that explains has died; another one takes its place")
                    continue
                except BaseException:  # nobody waits for it any more
                    process.close()
                    raise
                self._idle.append(process)  # where `explain` finds it that has become superfluous
            if isinstance(answer, Exception):
                raise answer
            explanations: Explanations = answer
            return explanations
        raise ExplanationFault(
            "The process that explained has died, and so has a second one, perhaps because memory ran out. "
            "Send fewer rows at a time, or ask for less effort."
        )

    async def _process(self, task: Task) -> _Process:
        """A process that is free and holds the model; one that does not makes room for it."""
        self._idle = [process for process in self._idle if process.is_alive]
        for process in reversed(self._idle):
            if task.key in process.keys:
                self._idle.remove(process)
                return process
        if self._idle:
            self._idle.pop(0).close()
        keys, link = await asyncio.to_thread(self._started, Wanted(task.key, task.parameters.engine))
        return await _Process.connected(keys, link)

    def _retire(self) -> None:
        """End the processes with a version that no request asks for any more."""
        for process in list(self._idle):
            if any(
                self._latest.get(key.place, key) != key and not self._n_requests[key] for key in process.keys
            ):
                self._idle.remove(process)
                process.close()

    def _started(self, wanted: Wanted) -> tuple[frozenset[Key], socket.socket]:
        with self._controlling:
            try:
                send(self._control, wanted)
                answer = receive(self._control)
                descriptors = socket.recv_fds(self._control, 1, 1)[1] if isinstance(answer, frozenset) else []
            except OSError:
                answer, descriptors = None, []
            if answer is None and self._is_open:
                logger.error(
                    "The process that starts those that explain is gone: threads explain until the next start"
                )
                self._is_open = False
        if isinstance(answer, Exception):
            raise answer
        if not descriptors:  # it is gone, or this process may open no more files
            raise NoProcessError("No process can be started that explains.")
        return answer, socket.socket(fileno=descriptors[0])


class _Process:
    def __init__(
        self, keys: frozenset[Key], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.keys = keys
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, keys: frozenset[Key], link: socket.socket) -> _Process:
        link.setblocking(False)
        return cls(keys, *await asyncio.open_unix_connection(sock=link))

    async def answer(self, task: Task) -> Any:
        body = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        self._writer.write(LENGTH.pack(len(body)) + body)
        await self._writer.drain()
        head = await self._reader.readexactly(LENGTH.size)
        return pickle.loads(await self._reader.readexactly(LENGTH.unpack(head)[0]))

    @property
    def is_alive(self) -> bool:
        """Whether the process has not closed its side."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Have the process end, at its next step if it is at work."""
        self._writer.close()
