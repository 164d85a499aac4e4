"""Requests per client, by the names of tokens, in memory that all workers share."""

from __future__ import annotations

import mmap
from collections import Counter

SLOTS = 256  # per worker; further names, which come with new token files, are counted together
NAME_BYTES = 64
OTHERS = "others"


class ClientCounts:
    """Counts of each worker beside the names that it has met; to be made before they are forked."""

    def __init__(self, n_workers: int) -> None:
        self._names = mmap.mmap(-1, n_workers * SLOTS * NAME_BYTES)
        self._counts = memoryview(mmap.mmap(-1, n_workers * SLOTS * 8)).cast("d")
        self._n_workers = n_workers
        self.use(0)

    def use(self, worker: int) -> None:
        """Count as this worker from now on, where one before it has stopped."""
        self._first = worker * SLOTS
        self._slots = {name: slot for slot in self._mine() if (name := self._name(slot))}

    def count(self, name: str) -> None:
        """Count a request of a client."""
        slot = self._slots.get(name)
        if slot is None:
            slot = self._take(name)
        self._counts[slot] += 1

    def lines(self) -> list[str]:
        """Lines for Prometheus; none if nobody has had to give a token."""
        total: Counter[str] = Counter()
        for slot in range(self._n_workers * SLOTS):
            if self._counts[slot]:
                total[self._name(slot)] += int(self._counts[slot])
        if not total:
            return []
        return [
            "# HELP proto_model_client_requests_total Requests answered, by the name of their token.",
            "# TYPE proto_model_client_requests_total counter",
            *(
                f'proto_model_client_requests_total{{client="{name}"}} {n}'
                for name, n in sorted(total.items())
            ),
        ]

    def _mine(self) -> range:
        return range(self._first, self._first + SLOTS)

    def _name(self, slot: int) -> str:
        begin = slot * NAME_BYTES
        return self._names[begin : begin + NAME_BYTES].rstrip(b"\0").decode()

    def _take(self, name: str) -> int:
        if len(self._slots) >= SLOTS - 1:
            name = OTHERS
        slot = self._slots.get(name, self._first + len(self._slots))
        if name not in self._slots:
            begin = slot * NAME_BYTES
            self._names[begin : begin + NAME_BYTES] = name.encode().ljust(NAME_BYTES, b"\0")
            self._slots[name] = slot
        return slot
