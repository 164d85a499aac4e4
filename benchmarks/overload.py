"""Good answers, health and log lines of the lean server and the mapper under more clients than they serve.

    python benchmarks/overload.py
    python benchmarks/overload.py --before ../other-checkout --clients 16 1000 3000 --rounds 3

Every client keeps a connection, waits for its answer and asks again at once, whatever the answer was; wrk is
the client, and shares the cores with the server. Meanwhile health and readiness are asked for over new
connections four times a second, health also on a port of its own. Prints a line per measurement: good answers
and refusals a second, CPU time of the server per answer of either kind, the client's part of it all, the
slowest answer of health, readiness and the port for health, and lines of the log. With
`--before`, a folder with another state of this project, both states take turns. The last lines are the good
answers of each round, a second and a second of the server's CPU time, as fractions of those with the fewest
clients in the same round; on a busy machine only the latter mean anything. Writes
benchmarks/results/overload.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from load import SCRIPT  # type: ignore[import-not-found]  # beside this file
from mapping import NUMBER, cpu_seconds, schema_of, stop  # type: ignore[import-not-found]
from servers import make_models  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]
PROBE_EVERY_S = 0.25
PROBE_TIMEOUT_S = 10.0
COUNT = """
function done(summary, latency, requests)
  io.write(string.format('\\n{"answers": %d, "refused": %d, "lost": %d, "seconds": %.3f, "p99_ms": %.1f}\\n',
    summary.requests, summary.errors.status, summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout, summary.duration / 1e6, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Kind:
    """How a server is started, and what it is asked."""

    command: list[str]
    path: str
    health: str
    ready: str
    body: Path
    listening: str  # what its log says before the address


@dataclass(frozen=True)
class Figures:
    """What one measurement gave."""

    state: str
    kind: str
    clients: int
    good_per_s: float
    refused_per_s: float
    lost: int
    cpu_us_per_answer: float
    good_per_cpu_s: float
    client_cpu_share: float
    slowest_health_s: float
    slowest_ready_s: float
    slowest_port_s: float
    health_failed: tuple[int, ...]
    log_lines: int
    log_mb: float


class Probe(threading.Thread):
    """Asks for health again and again, over a new connection each time."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self._port, self._path = port, path
        self._end = threading.Event()
        self.slowest_s = 0.0
        self.failed = 0

    def run(self) -> None:
        """Called by `start`."""
        while not self._end.wait(PROBE_EVERY_S):
            begin = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PROBE_TIMEOUT_S)
            try:
                connection.request("GET", self._path)
                self.failed += connection.getresponse().status != 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
            finally:
                connection.close()
            self.slowest_s = max(self.slowest_s, time.perf_counter() - begin)

    def stop(self) -> None:
        """End after the question at hand."""
        self._end.set()
        self.join()


@contextmanager
def running(
    kind: Kind, state: Path, log: Path, health_port: int
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server of a state of this project, and its port."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAPPER_")}
    env["PYTHONPATH"] = os.pathsep.join((str(state / "src"), str(state)))
    command = [*kind.command, "--health-port", str(health_port)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, cwd=log.parent, env=env)
    try:
        while kind.listening not in (text := log.read_text()):
            if process.poll() is not None:
                raise SystemExit(text)
            time.sleep(0.01)
        port = urlsplit(text.partition(kind.listening)[2].split()[0]).port
        assert port is not None
        while True:  # it says so before it answers
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("GET", kind.health)
                connection.getresponse()
                break
            except OSError:
                time.sleep(0.01)
            finally:
                connection.close()
        yield process, port
    finally:
        stop(process)


def measured(
    name: str, kind: Kind, state: tuple[str, Path], clients: int, args: argparse.Namespace
) -> Figures:
    """Figures of one server, which is started for it."""
    folder = kind.body.parent
    log = folder / "server.log"
    script = folder / "load.lua"
    script.write_text(SCRIPT.partition("function done")[0] + COUNT)
    with socket.create_server(("127.0.0.1", 0)) as free:
        health_port = free.getsockname()[1]
    with running(kind, state[1], log, health_port) as (process, port):
        url = f"http://127.0.0.1:{port}{kind.path}"
        command = ["wrk", "-t1", "--timeout", "30s", "-s", str(script)]
        env = os.environ | {"BODY": str(kind.body)}
        subprocess.run([*command, "-c4", "-d1s", url], env=env, check=True, capture_output=True)  # warm
        before, lines = cpu_seconds(process.pid), log.read_bytes().count(b"\n")
        n_bytes = log.stat().st_size
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        probes = [Probe(port, kind.health), Probe(port, kind.ready), Probe(health_port, kind.health)]
        for probe in probes:
            probe.start()
        done = subprocess.run(
            [*command, f"-c{clients}", f"-d{args.seconds}s", url], env=env, check=True, capture_output=True
        )
        cpu = cpu_seconds(process.pid) - before
        for probe in probes:
            probe.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(done.stdout.decode().strip().splitlines()[-1])
        text = log.read_bytes()
    good = found["answers"] - found["refused"]
    client_cpu = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    return Figures(
        state[0],
        name,
        clients,
        good / found["seconds"],
        found["refused"] / found["seconds"],
        found["lost"],
        1e6 * cpu / max(1, found["answers"]),
        good / max(cpu, 0.01),
        client_cpu / (client_cpu + cpu),
        *(probe.slowest_s for probe in probes),
        tuple(probe.failed for probe in probes),
        text.count(b"\n") - lines,
        (len(text) - n_bytes) / 1e6,
    )


def kinds(folder: Path, server_url: str, chosen: list[str]) -> dict[str, Kind]:
    """The servers that are measured, by name."""
    found = {}
    if "lean" in chosen:
        models = make_models(folder / "models", "breast_cancer")
        command = [sys.executable, "-m", "proto_model", "serve", "-m", str(models.ours), "-p", "0"]
        found["lean"] = Kind(
            command, "/invocations", "/ping", "/v2/health/ready", models.body(folder, 1), " on "
        )
    if "mapper" in chosen:
        schema, body = folder / "schema.json", folder / "body.json"
        content = schema_of(NUMBER, 30)
        schema.write_text(json.dumps(content))
        names = [feature["name"] for feature in content["features"]]
        body.write_text(json.dumps({"data": {name: i * 1.37 for i, name in enumerate(names)}}))
        command = [sys.executable, "-m", "mapper", "serve", "--port", "0", "--schema", str(schema)]
        command += ["--model-server-url", server_url]
        found["mapper"] = Kind(command, "/v1/predict", "/healthz", "/readyz", body, "listening on ")
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; give 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="folder with another state of this project")
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 1000, 3000])
    parser.add_argument("--servers", nargs="+", default=["lean", "mapper"], choices=["lean", "mapper"])
    parser.add_argument("--seconds", type=int, default=8, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    states = [("before", args.before.absolute())] if args.before else []
    states += [("now", ROOT)]
    constant = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "mapping.py"), "--role", "constant"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert constant.stdout is not None
    figures: list[Figures] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, kind in kinds(Path(folder), constant.stdout.readline().strip(), args.servers).items():
                for _ in range(args.rounds):
                    for clients in args.clients:
                        for state in states:
                            figures.append(measured(name, kind, state, clients, args))
                            print(_line(figures[-1]), flush=True)
    finally:
        stop(constant)
    _print_fractions(figures, args.clients)
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "overload.json").write_text(json.dumps([asdict(line) for line in figures], indent=2) + "\n")
    return 0


def _line(line: Figures) -> str:
    answers = f"{line.good_per_s:>8,.0f} good/s {line.refused_per_s:>8,.0f} refused/s {line.lost:>6} lost"
    cpu = f"CPU {line.cpu_us_per_answer:>5.0f} us/answer, client's share {line.client_cpu_share:.2f}"
    slowest = line.slowest_health_s, line.slowest_ready_s, line.slowest_port_s
    health = f"health {' '.join(f'{seconds:.2f}' for seconds in slowest)} s {line.health_failed} failed"
    log = f"log {line.log_lines} lines, {line.log_mb:.2f} MB"
    return f"{line.kind} {line.state:<6} {line.clients:>5} clients: {answers}, {cpu}, {health}, {log}"


def _print_fractions(figures: list[Figures], clients: list[int]) -> None:
    """Good answers with more clients, as fractions of those with the fewest in the same round."""
    for kind, state in dict.fromkeys((line.kind, line.state) for line in figures):
        lines = [line for line in figures if (line.kind, line.state) == (kind, state)]
        fewest = [line for line in lines if line.clients == clients[0]]
        for n in clients[1:]:
            pairs = list(zip([line for line in lines if line.clients == n], fewest, strict=True))
            wall = " ".join(f"{more.good_per_s / best.good_per_s:.2f}" for more, best in pairs)
            cpu = " ".join(f"{more.good_per_cpu_s / best.good_per_cpu_s:.2f}" for more, best in pairs)
            print(f"{kind} {state}, {n} clients: {wall} a second, {cpu} a second of CPU time")


if __name__ == "__main__":
    sys.exit(main())
