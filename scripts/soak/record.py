"""What a soak saw: requests, errors and their causes, wrong answers, memory, descriptors; its report."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEPT = 50  # examples of unexpected errors and of wrong answers
GRACE_S = 1.0  # a fault may show a moment after it
SPAN_S = 120.0  # growth over a shorter time says nothing about an hour
MIB = 1 << 20


@dataclass
class Disturbance:
    """Something that was done to a part of the system, which errors of that part come from."""

    cause: str
    part: str
    begin: float
    end: float = float("inf")


@dataclass(frozen=True)
class Sample:
    """Memory and descriptors of one process at one moment; no descriptors where the system does not tell."""

    role: str
    pid: int
    age_s: float
    rss: int
    descriptors: int | None


@dataclass
class Record:
    """Counts and examples of a soak."""

    begin: float = field(default_factory=time.monotonic)
    requests: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    expected: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    unexpected: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)  # kills, restarts, faults
    retried: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    n_wrong: int = 0
    samples: list[Sample] = field(default_factory=list)
    _disturbances: list[Disturbance] = field(default_factory=list)
    _born: dict[int, float] = field(default_factory=dict)

    @contextmanager
    def disturbing(self, cause: str, *parts: str) -> Iterator[None]:
        """Errors of these parts, while the block is at work and shortly after, come from this cause."""
        new = [Disturbance(cause, part, time.monotonic()) for part in parts]
        self._disturbances += new
        self.done[cause] += 1
        try:
            yield
        finally:
            for disturbance in new:
                disturbance.end = time.monotonic() + GRACE_S

    def restart_clock(self) -> None:
        """Count time from now on."""
        self.begin = time.monotonic()

    def answered(self, actor: str, outcome: str) -> None:
        """A request that got the answer that it should get."""
        self.requests[actor] += 1
        self.outcomes[actor, outcome] += 1

    def failed(self, actor: str, kind: str, since: float, parts: Iterable[str], detail: str = "") -> None:
        """A request that failed; its cause is whatever disturbed one of the parts since it began."""
        self.requests[actor] += 1
        wanted = set(parts)
        causes = [d.cause for d in self._disturbances if d.part in wanted and d.end >= since]
        if causes:
            self.expected[actor, kind, causes[-1]] += 1
        else:
            self.unforeseen(actor, kind, detail)

    def unforeseen(self, actor: str, kind: str, detail: str = "") -> None:
        """Something that nothing explains."""
        self.unexpected[actor, kind] += 1
        if len(self.examples) < KEPT:
            self.examples.append(f"{time.monotonic() - self.begin:.1f} s, {actor}: {kind} {detail}".strip())

    def wrongly(self, actor: str, detail: str) -> None:
        """An answer that is not what the model says."""
        self.requests[actor] += 1
        self.n_wrong += 1
        if len(self.wrong) < KEPT:
            self.wrong.append(f"{time.monotonic() - self.begin:.1f} s, {actor}: {detail}")

    def sample(self, roots: dict[str, int]) -> None:
        """Look at the processes of servers, by the name of each and its first process."""
        now = time.monotonic()
        parents, memory = processes()
        for name, root in roots.items():
            workers = [pid for pid, parent in parents.items() if parent == root]
            for pid in (root, *workers):
                if pid not in memory:
                    continue
                role = f"{name} {'supervisor' if pid == root and workers else 'worker'}"
                born = self._born.setdefault(pid, now)
                self.samples.append(Sample(role, pid, now - born, memory[pid], descriptors(pid)))


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [child for child, parent in processes()[0].items() if parent == pid]


def processes() -> tuple[dict[int, int], dict[int, int]]:
    """Parent and memory of each process."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True)
    rows = [list(map(int, line.split())) for line in listed.stdout.splitlines()]
    return {pid: parent for pid, parent, _ in rows}, {pid: 1024 * rss for pid, _, rss in rows}


def descriptors(pid: int) -> int | None:
    """Open descriptors of a process; None where the system does not tell, or it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def slope_per_hour(samples: list[Sample], values: list[float], warm_s: float) -> float | None:
    """Growth of a value within processes, those of a role together, after the first seconds of each.

    Each process has its own level, so a restart is no growth. None where too little was seen.
    """
    by_pid: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for sample, value in zip(samples, values, strict=True):
        if sample.age_s >= warm_s:
            by_pid[sample.pid].append((sample.age_s, value))
    above = below = 0.0
    for points in by_pid.values():
        mean_age = sum(age for age, _ in points) / len(points)
        mean = sum(value for _, value in points) / len(points)
        above += sum((age - mean_age) * (value - mean) for age, value in points)
        below += sum((age - mean_age) ** 2 for age, _ in points)
    ages = [age for points in by_pid.values() for age, _ in points]
    return 3600 * above / below if below and max(ages) - min(ages) >= SPAN_S else None


def summary(record: Record) -> dict[str, Any]:
    """The report as JSON."""
    seconds = time.monotonic() - record.begin
    rows = []
    for role in sorted({sample.role for sample in record.samples}):
        samples = [sample for sample in record.samples if sample.role == role]
        warm_s = min(60.0, seconds / 10)
        known = [sample for sample in samples if sample.descriptors is not None]
        memory = slope_per_hour(samples, [sample.rss / MIB for sample in samples], warm_s)
        opened = slope_per_hour(known, [float(sample.descriptors or 0) for sample in known], warm_s)
        rows.append(
            {
                "role": role,
                "processes": len({sample.pid for sample in samples}),
                "longest_s": round(max(sample.age_s for sample in samples)),
                "rss_mib_median": round(sorted(s.rss for s in samples)[len(samples) // 2] / MIB, 1),
                "rss_mib_max": round(max(sample.rss for sample in samples) / MIB, 1),
                "rss_mib_per_hour": None if memory is None else round(memory, 2),
                "descriptors_max": max((sample.descriptors or 0 for sample in known), default=None),
                "descriptors_per_hour": None if opened is None else round(opened, 2),
            }
        )
    return {
        "minutes": round(seconds / 60, 2),
        "python": platform.python_version(),
        "requests": dict(sorted(record.requests.items())),
        "requests_total": sum(record.requests.values()),
        "outcomes": [[*key, n] for key, n in sorted(record.outcomes.items())],
        "disturbances": dict(sorted(record.done.items())),
        "resent": dict(sorted(record.retried.items())),
        "expected_errors": [[*key, n] for key, n in sorted(record.expected.items())],
        "unexpected_errors": [[*key, n] for key, n in sorted(record.unexpected.items())],
        "unexpected_examples": record.examples,
        "wrong_answers": record.n_wrong,
        "wrong_examples": record.wrong,
        "processes": rows,
    }


def markdown(content: dict[str, Any]) -> str:
    """The report for people."""
    n_unexpected = sum(row[-1] for row in content["unexpected_errors"])
    n_expected = sum(row[-1] for row in content["expected_errors"])
    lines = [
        f"# Soak of {content['minutes']:g} minutes",
        "",
        f"{content['requests_total']} requests, **{content['wrong_answers']} wrong answers**, "
        f"**{n_unexpected} unexpected errors**, {n_expected} errors with a known cause.",
        "",
        "Done to the servers: "
        + ", ".join(f"{n} times {what}" for what, n in content["disturbances"].items()),
        "",
        *table(("client", "outcome", "requests"), content["outcomes"]),
        *table(("client", "error", "cause", "expected"), content["expected_errors"]),
        *table(("client", "error", "unexpected"), content["unexpected_errors"]),
        *table(
            ("client", "sent again, because an idle connection had been closed"), content["resent"].items()
        ),
        *table(
            (
                "process",
                "n",
                "longest, s",
                "MiB, median",
                "MiB, most",
                "MiB/h",
                "descriptors, most",
                "descriptors/h",
            ),
            [list(row.values()) for row in content["processes"]],
        ),
    ]
    for title, examples in (
        ("Unexpected", content["unexpected_examples"]),
        ("Wrong", content["wrong_examples"]),
    ):
        if examples:
            lines += [f"{title}:", "", *[f"- {example}" for example in examples], ""]
    return "\n".join(lines)


def table(names: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a table; none if it has no rows."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [names, ["-" * width for width in widths], *cells]
    return [
        *["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines],
        "",
    ]


def write(record: Record, folder: Path) -> dict[str, Any]:
    """Write `soak.json` and `soak.md`; the report's content."""
    content = summary(record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "soak.md").write_text(markdown(content) + "\n")
    return content
