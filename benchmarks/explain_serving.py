"""Explanations of a lean server by its threads, by one process and by one per core; plain requests beside.

    python benchmarks/explain_serving.py
    python benchmarks/explain_serving.py --before ../other-checkout --rounds 3

The servers take turns in every round, each started anew. Four clients have rows explained, each as soon as it
has its answer; a further one asks for a plain prediction a hundred times a second, on a schedule, and its
latency counts from the time on the schedule. First the plain client is alone, then the explaining ones are,
then all are there. As a control, the plain client is beside processes, one per core, that only count, with
the priority of those that explain: what the system's scheduler costs. `--before` is a folder with another
state of this project, whose threads explain. Prints each round, then the lowest and the highest of the
ratios.

Then memory, with forests of 200 trees and of five times as many: the proportional set size of all processes
of a server after explanations, in which what they share counts once. What a larger forest adds to it, as a
multiple of what it adds to the model's arrays, is the number of copies. Writes
benchmarks/results/explain_serving.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from servers import descendants, free_ports, make_models, wait_for_answer  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]
N_EXPLAINING = 4
PLAIN_PER_S = 100
TREES = (200, 1000)
# In a process of its own: the threads of the others would hold up the one that measures.
APART = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Figures:
    """What one server did in one round; latencies in ms."""

    server: str
    explained_per_s: float
    explained_beside_per_s: float
    plain_p50: float
    plain_p99: float
    plain_beside_p50: float
    plain_beside_p99: float
    plain_control_p99: float  # beside as many processes that only count


@dataclass(frozen=True)
class Memory:
    """What the processes of a server hold after explanations, in MB."""

    server: str
    n_trees: int
    all_mb: float
    model_mb: float


@contextmanager
def running(
    state: Path, options: Sequence[str], model: Path, body: bytes, folder: Path
) -> Iterator[tuple[int, int]]:
    """Process id and port of a lean server that answers, from a state of this project."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "proto_model", "serve", "-m", str(model), "-p", str(port), *options]
    log = folder / f"{port}.log"
    environment = os.environ | {"PYTHONPATH": str(state / "src")}
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            wait_for_answer(f"http://127.0.0.1:{port}/invocations", body, process, log)
            yield process.pid, port
        finally:
            process.terminate()


def explaining(port: int, body: bytes, seconds: float) -> float:
    """Explanations a second of all clients together."""
    end = time.monotonic() + seconds
    counts = []

    def client() -> None:
        connection, n_answers = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        while time.monotonic() < end:
            _ask(connection, body)
            n_answers += 1
        counts.append(n_answers)

    clients = [threading.Thread(target=client) for _ in range(N_EXPLAINING)]
    begin = time.monotonic()
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    return sum(counts) / (time.monotonic() - begin)


def plain(port: int, body: bytes, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of the latency."""
    connection, latencies = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    begin = time.monotonic()
    for place in range(round(seconds * PLAIN_PER_S)):
        due = begin + place / PLAIN_PER_S
        time.sleep(max(0.0, due - time.monotonic()))
        _ask(connection, body)
        latencies.append(time.monotonic() - due)
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return float(p50), float(p99)


def _ask(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("POST", "/invocations", body, HEADERS)
    with connection.getresponse() as reply:
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {content[:500]!r}")
        return content


def beside(port: int, body: bytes, explained: bytes, seconds: float) -> tuple[float, float, float]:
    """Explanations a second, and the plain client's latencies, at once."""
    rates: list[float] = []
    load = threading.Thread(target=lambda: rates.append(explaining(port, explained, seconds)))
    load.start()
    p50, p99 = APART.submit(plain, port, body, seconds).result()
    load.join()
    return rates[0], p50, p99


def beside_counting(port: int, body: bytes, n_processes: int, seconds: float) -> float:
    """The plain client's 99th percentile beside processes of low priority that only count."""
    command = ["nice", "-n", "10", sys.executable, "-c", "while True: pass"]
    counting = [subprocess.Popen(command) for _ in range(n_processes)]
    try:
        return APART.submit(plain, port, body, seconds).result()[1]
    finally:
        for process in counting:
            process.kill()
            process.wait()


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and those it has started."""
    total = 0
    for one in (pid, *descendants(pid)):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def model_mb(port: int) -> float:
    """Memory of the model's arrays, by the server's own account."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    [line] = [line for line in lines if line.startswith("proto_model_version_memory_bytes{")]
    return float(line.split()[-1]) / 2**20


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default: 10)")
    parser.add_argument("--before", type=Path, help="folder with another state of this project")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/explain_serving.json")
    args = parser.parse_args(argv)
    n_cores = len(os.sched_getaffinity(0))
    states: dict[str, tuple[Path, list[str]]] = {"before": (args.before, [])} if args.before else {}
    states |= {
        "threads": (ROOT, ["--explainers", "0"]),
        "1 process": (ROOT, ["--explainers", "1"]),
        f"{n_cores} processes": (ROOT, ["--explainers", str(n_cores)]),
    }
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = make_models(folder / "models", 30)
        body = models.body(folder, 1).read_bytes()
        explained = json.dumps(json.loads(body) | {"params": {"explain": True}}).encode()
        memory = list(_memories(folder, states))
        for _ in range(args.rounds):
            for name, (state, options) in states.items():
                with running(state.resolve(), options, models.ours, body, folder) as (_, port):
                    explaining(port, explained, 1.0)
                    alone = APART.submit(plain, port, body, args.seconds).result()
                    rate = explaining(port, explained, args.seconds)
                    both = beside(port, body, explained, args.seconds)
                    control = beside_counting(port, body, n_cores, args.seconds)
                    figures.append(Figures(name, rate, both[0], *alone, *both[1:], control))
                print(_line(figures[-1]), flush=True)
    _print_ratios(figures, list(states))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"rounds": [asdict(one) for one in figures], "memory": [asdict(one) for one in memory]}
    args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def _memories(folder: Path, states: dict[str, tuple[Path, list[str]]]) -> Iterator[Memory]:
    """Memory of each server with a small and with a large forest; prints the copies of the model."""
    found: dict[str, list[Memory]] = {name: [] for name in states}
    for n_trees in TREES:
        models = make_models(folder / f"trees-{n_trees}", 30, n_estimators=n_trees)
        body = models.body(folder, 1).read_bytes()
        explained = json.dumps(json.loads(body) | {"params": {"explain": True}}).encode()
        for name, (state, options) in states.items():
            with running(state.resolve(), options, models.ours, body, folder) as (pid, port):
                explaining(port, explained, 3.0)
                found[name].append(Memory(name, n_trees, memory_mb(pid), model_mb(port)))
    for name, (small, large) in found.items():
        copies = (large.all_mb - small.all_mb) / (large.model_mb - small.model_mb)
        print(
            f"{name:>12}: {small.all_mb:.0f} and {large.all_mb:.0f} MB, arrays {small.model_mb:.0f} and "
            f"{large.model_mb:.0f} MB of it: {copies:.2f} copies",
            flush=True,
        )
        yield from (small, large)


def _line(one: Figures) -> str:
    return (
        f"{one.server:>12}: {one.explained_per_s:6.1f} explanations/s, {one.explained_beside_per_s:6.1f} "
        f"beside plain requests; plain p50/p99 {one.plain_p50:.2f}/{one.plain_p99:.2f} ms alone, "
        f"{one.plain_beside_p50:.2f}/{one.plain_beside_p99:.2f} beside, "
        f"p99 {one.plain_control_p99:.2f} beside counting"
    )


def _print_ratios(figures: list[Figures], names: list[str]) -> None:
    by_name = {name: [one for one in figures if one.server == name] for name in names}

    def span(values: list[float]) -> str:
        return f"{min(values):.2f} to {max(values):.2f}"

    print("\nlowest to highest of the rounds")
    for name in names:
        own, ones = by_name[name], by_name["1 process"]
        rates = [a.explained_per_s / b.explained_per_s for a, b in zip(own, ones, strict=True)]
        print(
            f"{name:>12}: {span(rates)} times the explanations of 1 process; beside plain requests "
            f"{span([a.explained_beside_per_s / a.explained_per_s for a in own])} of them; plain p99 beside "
            f"{span([a.plain_beside_p99 / a.plain_p99 for a in own])} times that alone, "
            f"{span([a.plain_beside_p99 / a.plain_control_p99 for a in own])} times that beside counting"
        )


if __name__ == "__main__":
    sys.exit(main())
