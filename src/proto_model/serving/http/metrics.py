"""Counters in memory that all workers share, and Prometheus' text of them.

prometheus-client takes 10 µs for the three observations of a request, and keeps files for several processes;
numbers in shared memory take less than one.
"""

from __future__ import annotations

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

from proto_model.serving.http.client_counts import ClientCounts

ROUTES = ("invocations", "v2", "ping", "health", "version", "metrics", "other")
STATUSES = (200, 400, 401, 404, 405, 408, 413, 415, 421, 431, 500, 501, 503, 504, 505)
BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 120, 600, 3600),
)
PAGES_PER_S = 10  # writing a page takes as long as answering many rows

JOBS = ("body", "explanation", "file")

_ROUTE = {route: place for place, route in enumerate(ROUTES)}
_OTHER = _ROUTE["other"]
_STATUS = {status: place for place, status in enumerate(STATUSES)}
_SECONDS = len(ROUTES) * len(STATUSES)
_WIDTH = len(BUCKETS_S) + 2  # the last bucket is without bound; then the sum
_ROWS = _SECONDS + len(ROUTES) * _WIDTH
_JOBS = _ROWS + 1
_DEATHS = _JOBS + len(JOBS)
_SIZE = _DEATHS + 1


class Metrics:
    """Counts the requests of all workers; to be made before they are forked."""

    def __init__(self, n_workers: int = 1) -> None:
        self._memory = mmap.mmap(-1, 8 * _SIZE * n_workers)
        numbers = memoryview(self._memory).cast("d")
        self._workers = [numbers[_SIZE * i : _SIZE * (i + 1)] for i in range(n_workers)]
        self._mine = self._workers[0]
        self.clients = ClientCounts(n_workers)
        self._start = time.time()
        self._page = b""
        self._pages_left, self._second_ends = PAGES_PER_S, time.monotonic() + 1

    def use(self, worker: int) -> None:
        """Count as this worker from now on; it has no jobs yet, whatever one before it had."""
        self._mine = self._workers[worker]
        self.clients.use(worker)
        for kind in JOBS:
            self.set_jobs(kind, 0)

    def count(self, route: str, status: int, seconds: float, n_rows: int) -> None:
        """Count a request that was answered; a route that is not one of `ROUTES` is an "other"."""
        mine = self._mine
        place = _ROUTE.get(route, _OTHER)
        mine[place * len(STATUSES) + _STATUS[status]] += 1
        histogram = _SECONDS + place * _WIDTH
        mine[histogram + bisect_left(BUCKETS_S, seconds)] += 1
        mine[histogram + _WIDTH - 1] += seconds
        mine[_ROWS] += n_rows

    def set_jobs(self, kind: str, n_jobs: int) -> None:
        """Say how many jobs of a kind, one of `JOBS`, this worker has, at work and waiting."""
        self._mine[_JOBS + JOBS.index(kind)] = n_jobs

    def count_death(self) -> None:
        """Count a process that explained and has died."""
        self._mine[_DEATHS] += 1

    def text(self, of_models: Callable[[], list[str]] = list) -> bytes:
        """All workers' numbers in Prometheus' format; more than `PAGES_PER_S` a second are like the last.

        `of_models` gives the lines about models that the page begins with.
        """
        now = time.monotonic()
        if now >= self._second_ends:
            self._second_ends, self._pages_left = now + 1, PAGES_PER_S
        if self._pages_left:
            self._pages_left -= 1
            self._page = self._written(of_models())
        return self._page

    def _written(self, lines: list[str]) -> bytes:
        total = [sum(column) for column in zip(*self._workers, strict=True)]
        lines = [
            *lines,
            "# HELP proto_model_requests_total Requests answered.",
            "# TYPE proto_model_requests_total counter",
        ]
        for (route, status), value in zip(
            ((route, status) for route in ROUTES for status in STATUSES), total, strict=False
        ):
            if value:
                lines.append(f'proto_model_requests_total{{route="{route}",status="{status}"}} {value:.0f}')
        lines += [
            *self.clients.lines(),
            "# HELP proto_model_request_seconds From the request's headers to its answer.",
            "# TYPE proto_model_request_seconds histogram",
        ]
        for place, route in enumerate(ROUTES):
            begin = _SECONDS + place * _WIDTH
            *counts, seconds = total[begin : begin + _WIDTH]
            if not any(counts):
                continue
            for bound, value in zip((*BUCKETS_S, "+Inf"), accumulate(counts), strict=True):
                lines.append(
                    f'proto_model_request_seconds_bucket{{route="{route}",le="{bound}"}} {value:.0f}'
                )
            lines.append(f'proto_model_request_seconds_sum{{route="{route}"}} {seconds!r}')
            lines.append(f'proto_model_request_seconds_count{{route="{route}"}} {sum(counts):.0f}')
        lines += [
            "# HELP proto_model_rows_total Rows predicted.",
            "# TYPE proto_model_rows_total counter",
            f"proto_model_rows_total {total[_ROWS]:.0f}",
            "# HELP proto_model_jobs Large bodies, explanations and requests for files, at work and waiting.",
            "# TYPE proto_model_jobs gauge",
            *(
                f'proto_model_jobs{{kind="{kind}"}} {n:.0f}'
                for kind, n in zip(JOBS, total[_JOBS:_DEATHS], strict=True)
            ),
            "# HELP proto_model_explainer_deaths_total Processes that explained and died.",
            "# TYPE proto_model_explainer_deaths_total counter",
            f"proto_model_explainer_deaths_total {total[_DEATHS]:.0f}",
            "# HELP proto_model_workers Processes that answer.",
            "# TYPE proto_model_workers gauge",
            f"proto_model_workers {len(self._workers)}",
            "# HELP process_start_time_seconds When the server began, since the epoch.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self._start!r}",
        ]
        memory = _resident_bytes()
        if memory is not None:
            lines += [
                "# HELP process_resident_memory_bytes Of the worker that answers this page.",
                "# TYPE process_resident_memory_bytes gauge",
                f"process_resident_memory_bytes {memory}",
            ]
        return ("\n".join(lines) + "\n").encode()


def _resident_bytes() -> int | None:
    """Memory of this process, where the system tells it by a file."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return None
