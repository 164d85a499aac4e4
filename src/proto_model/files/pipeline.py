"""Work on one block after the other by several threads, with the results in order."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["in_order"]

Result = TypeVar("Result")


def in_order(
    work: Callable[[Any], Result], blocks: Iterator[Any], n_workers: int, stop: Callable[[], None]
) -> Generator[Result]:
    """Results of the work on each block in the blocks' order, while later ones are read and worked on.

    One thread reads ahead, `n_workers` threads work, the caller's thread writes; at most `n_workers + 3`
    blocks are in memory. `stop` makes a read that waits for the network fail.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=1)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def offer(item: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=0.1)

    def read() -> None:
        try:
            for block in blocks:
                offer((block,))
                if stopped.is_set():
                    return
        except BaseException as error:  # goes to the caller's thread
            failures.append(error)
        offer(None)

    thread = threading.Thread(target=read, name="reader", daemon=True)
    thread.start()
    finished = False
    running: deque[Future[Result]] = deque()
    try:
        with ThreadPoolExecutor(n_workers, thread_name_prefix="scorer") as pool:
            try:
                while (item := ready.get()) is not None:
                    running.append(pool.submit(work, item[0]))
                    del item
                    while len(running) > n_workers or (running and running[0].done()):
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
                finished = True
            finally:
                for future in running:
                    future.cancel()
    finally:
        if not finished:
            stopped.set()
            stop()
        thread.join()
    if failures:
        raise failures[0]
