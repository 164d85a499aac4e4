"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    120,
    600,
    3600,
)


class Metrics:
    """Counters of one process, or of all workers when PROMETHEUS_MULTIPROC_DIR is set."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "mapper_requests", "Requests answered.", ["route", "status", "outcome"], registry=registry
        )
        self._durations = Histogram(
            "mapper_request_duration_seconds",
            "From a request's head to its answer.",
            ["route"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._model_server = Histogram(
            "mapper_model_server_duration_seconds",
            "From sending to the model server to its answer.",
            ["kind"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._faults = Counter("mapper_faults", "Faults found in requests.", ["kind"], registry=registry)
        self._warnings = Counter("mapper_warnings", "Warnings given with answers.", registry=registry)
        self._rows = Counter("mapper_rows", "Rows sent to the model server.", registry=registry)
        self.in_flight = Gauge(
            "mapper_requests_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._finishers: dict[tuple[str, int, str], Callable[[float], None]] = {}
        self._observers: dict[str, Callable[[float], None]] = {}

    def finish(self, route: str, status: int, outcome: str, seconds: float) -> None:
        """Count an answered request."""
        key = (route, status, outcome)
        finisher = self._finishers.get(key)
        if finisher is None:  # looking up a labelled child costs more than counting
            count = self._requests.labels(route, str(status), outcome).inc
            observe = self._durations.labels(route).observe

            def finisher(seconds: float) -> None:
                count()
                observe(seconds)

            self._finishers[key] = finisher
        finisher(seconds)

    def model_server(self, kind: str, seconds: float) -> None:
        """Count an answer of the model server."""
        observe = self._observers.get(kind)
        if observe is None:
            observe = self._observers[kind] = self._model_server.labels(kind).observe
        observe(seconds)

    def found(self, n_rows: int, warning_count: int) -> None:
        """Count what a request held that was mapped."""
        self._rows.inc(n_rows)
        if warning_count:
            self._warnings.inc(warning_count)

    def fault(self, kind: str) -> None:
        """Count a fault of a request."""
        self._faults.labels(kind).inc()

    def text(self) -> bytes:
        """All counters in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
            return generate_latest(registry)
        return generate_latest(self._registry)
