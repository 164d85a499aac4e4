"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
import time
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 120, 600, 3600),
)
PAGES_PER_S = 10  # writing a page takes as long as answering several requests


class Metrics:
    """Counters of one process, or of all workers when PROMETHEUS_MULTIPROC_DIR is set."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "mapper_requests", "Requests answered.", ["route", "status", "outcome"], registry=registry
        )
        text = "From a request's head to its answer."
        self._durations = Histogram(
            "mapper_request_duration_seconds", text, ["route"], buckets=BUCKETS_S, registry=registry
        )
        text = "From sending to the model server to its answer."
        self._model_server = Histogram(
            "mapper_model_server_duration_seconds", text, ["kind"], buckets=BUCKETS_S, registry=registry
        )
        self._faults = Counter("mapper_faults", "Faults found in requests.", ["kind"], registry=registry)
        self._warnings = Counter("mapper_warnings", "Warnings given with answers.", registry=registry)
        self._rows = Counter("mapper_rows", "Rows sent to the model server.", registry=registry)
        text = "Requests being answered."
        self.in_flight = Gauge(
            "mapper_requests_in_flight", text, registry=registry, multiprocess_mode="livesum"
        )
        text = "1: the model stays at an older version than its alias names."
        self._follow_problem = Gauge(
            "mapper_follow_problem", text, ["model"], registry=registry, multiprocess_mode="livemax"
        )
        text = "Versions that took the place of another one, in each process."
        self._swaps = Counter("mapper_swaps", text, ["model"], registry=registry)
        self._page = b""
        self._pages_left, self._second_ends = PAGES_PER_S, time.monotonic() + 1
        # Looking a child up by its labels costs as much as counting; there are few combinations.
        self._finished = cache(
            lambda *labels: (self._requests.labels(*labels), self._durations.labels(labels[0]))
        )

    def finish(self, route: str, status: int, outcome: str, seconds: float) -> None:
        """Count an answered request."""
        requests, durations = self._finished(route, str(status), outcome)
        requests.inc()
        durations.observe(seconds)

    def model_server(self, kind: str, seconds: float) -> None:
        """Count an answer of the model server."""
        self._model_server.labels(kind).observe(seconds)

    def found(self, n_rows: int, warning_count: int) -> None:
        """Count the rows and warnings of a mapped request."""
        self._rows.inc(n_rows)
        if warning_count:
            self._warnings.inc(warning_count)

    def fault(self, kind: str) -> None:
        """Count a fault of a request."""
        self._faults.labels(kind).inc()

    def follows(self, model: str, *, has_problem: bool) -> None:
        """Say whether a model is where its alias is."""
        self._follow_problem.labels(model).set(int(has_problem))

    def swapped(self, model: str) -> None:
        """Count a version that took the place of another one."""
        self._swaps.labels(model).inc()

    def text(self) -> bytes:
        """All counters in Prometheus's text format; more than `PAGES_PER_S` a second are like the last."""
        now = time.monotonic()
        if now >= self._second_ends:
            self._second_ends, self._pages_left = now + 1, PAGES_PER_S
        if self._pages_left:
            self._pages_left -= 1
            self._page = self._written()
        return self._page

    def _written(self) -> bytes:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
        return generate_latest(registry)
