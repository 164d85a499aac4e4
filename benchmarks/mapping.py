"""What the mapper costs in front of a model server that answers at once, with everything checked and logged.

    python benchmarks/mapping.py
    python benchmarks/mapping.py --features 500 --seconds 10

Prints two tables and writes benchmarks/results/mapper.json. The load comes from another process: wrk where it
is installed, else a client over plain sockets. All on 127.0.0.1; medians over rounds that alternate with the
constant server alone. The second table is what checking a request and building the model server's costs per
field: CPU time in this process, the least of several repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROW = {"prediction": "yes", "probability": 0.75, "probability_no": 0.25, "probability_yes": 0.75}
TICKS = os.sysconf("SC_CLK_TCK")
NUMBER = {"type": "double", "nullable": False, "minimum": 0.0, "maximum": 1000.0, "median": 1.5}
CATEGORY = {
    "type": "string",
    "nullable": False,
    "categories": ["no", "rarely", "often", "always"],
    "most_frequent": "no",
}
KINDS = {"numbers": (NUMBER, 41.1), "categories": (CATEGORY, "often")}
COLUMNS = (10, 30, 100, 500)
ROWS = (1, 1000)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; give 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", choices=["constant", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--body", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.role == "constant":
        asyncio.run(constant_server())
        return 0
    if args.role == "load":
        print(json.dumps(asyncio.run(load(args.url, args.body.read_bytes(), args.clients, args.seconds))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))
    return 0


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Start both servers, load them in turns, print and write the figures."""
    schema, body = folder / "schema.json", folder / "body.json"
    content = schema_of(NUMBER, args.features)
    names = [feature["name"] for feature in content["features"]]
    schema.write_text(json.dumps(content))
    body.write_text(json.dumps({"data": {name: i * 1.37 for i, name in enumerate(names)}}))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAPPER_", "PYTHONDONTWRITE"))}
    constant = subprocess.Popen(
        [sys.executable, __file__, "--role", "constant"], stdout=subprocess.PIPE, text=True, env=env
    )
    assert constant.stdout is not None
    server_url = constant.stdout.readline().strip()
    command = [sys.executable, "-m", "mapper", "serve", "--port", "0", "--schema", str(schema)]
    command += ["--model-server-url", server_url]
    mapper, mapper_url, _ = start(command, folder / "mapper.log", env)  # compiles the bytecode
    stop(mapper)
    starts = []
    try:
        for _ in range(args.rounds):
            mapper, mapper_url, seconds = start(command, folder / "mapper.log", env)
            starts.append(seconds)
            if len(starts) < args.rounds:
                stop(mapper)
        urls = {"direct": f"{server_url}/invocations", "mapper": f"{mapper_url}/v1/predict"}
        figures, cpu_us = loaded(urls, mapper.pid, body, args)
        peak = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{mapper.pid}/status").read_text())
        assert peak is not None
    finally:
        stop(mapper)
        stop(constant)
    process = {
        "CPU of the mapper per request, us": cpu_us,
        "peak memory, MiB": int(peak[1]) / 1024,
        "start to first answer, s": statistics.median(starts),
    }
    report(figures, process, args.features)


def loaded(
    urls: dict[str, str], mapper_pid: int, body: Path, args: argparse.Namespace
) -> tuple[dict[str, list[dict[str, float]]], float]:
    """Figures of each round by URL and number of clients, and the mapper's CPU microseconds per request."""
    figures: dict[str, list[dict[str, float]]] = {}
    cpu_us = []
    for _ in range(args.rounds):
        for clients in (1, 16):
            for name, url in urls.items():
                before = cpu_seconds(mapper_pid)
                result = run_load(url, body, clients, args.seconds)
                figures.setdefault(f"{name}{clients}", []).append(result)
                if name == "mapper" and clients == 16:
                    cpu_us.append((cpu_seconds(mapper_pid) - before) / result["requests"] * 1e6)
    return figures, statistics.median(cpu_us)


def report(figures: dict[str, list[dict[str, float]]], process: dict[str, float], n_features: int) -> None:
    """Print medians of the rounds and the cost of validation, and write them with the rounds to a file."""
    median = {
        key: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for key, results in figures.items()
    }
    table = {
        "added p50 at 1 client, ms": median["mapper1"]["p50_ms"] - median["direct1"]["p50_ms"],
        "added p99 at 1 client, ms": median["mapper1"]["p99_ms"] - median["direct1"]["p99_ms"],
        "requests/s at 1 client": median["mapper1"]["rps"],
        "requests/s at 16 clients": median["mapper16"]["rps"],
        "p99 at 16 clients, ms": median["mapper16"]["p99_ms"],
        **process,
        "constant server alone, requests/s at 16 clients": median["direct16"]["rps"],
    }
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "client": "wrk" if shutil.which("wrk") else "python",
        "features": n_features,
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for name, value in table.items():
        print(f"{name:<50}{value:>12,.3f}")
    per_field = validation()
    print(f"\n{'validation, us of CPU per field':<34}" + "".join(f"{n:>8} columns" for n in COLUMNS))
    for name, values in per_field.items():
        print(f"{name:<34}" + "".join(f"{value:>16.3f}" for value in values.values()))
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    content = {"machine": machine, "table": table, "validation_us_per_field": per_field, "rounds": figures}
    (results / "mapper.json").write_text(json.dumps(content, indent=2) + "\n")


def schema_of(feature: dict[str, object], n_features: int) -> dict[str, Any]:
    """Schema of a model with so many features of one kind."""
    return {
        "schema_version": "1.0",
        "model_name": "constant",
        "target": {"name": "answer", "type": "string"},
        "classes": ["no", "yes"],
        "features": [{"name": f"feature_{i:03d}", **feature} for i in range(n_features)],
    }


def validation() -> dict[str, dict[str, float]]:
    """Microseconds per field, by kind of field and number of rows, then by number of columns."""
    from mapper import ModelSchema, TabularModel

    costs: dict[str, dict[str, float]] = {}
    for kind, (feature, value) in KINDS.items():
        for n_rows in ROWS:
            cost = costs.setdefault(f"{kind}, {n_rows} row{'s' if n_rows > 1 else ''}", {})
            for n_columns in COLUMNS:
                model = TabularModel(ModelSchema.from_dict(schema_of(feature, n_columns)))
                record = {name: value for name in model.schema.feature_names}
                request = {"data": [dict(record) for _ in range(n_rows)]}
                number = max(1, 100_000 // (n_rows * n_columns))
                timer = timeit.Timer(partial(model.map_request, request), timer=time.process_time)
                seconds = min(timer.repeat(repeat=7, number=number)) / number
                cost[str(n_columns)] = seconds / (n_rows * n_columns) * 1e6
    return costs


def start(command: list[str], log: Path, env: dict[str, str]) -> tuple[subprocess.Popen[str], str, float]:
    """A mapper process, its URL, and how long its first answer took."""
    with log.open("w") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(command, stderr=stderr, text=True, cwd=ROOT, env=env)
    while "listening on" not in (text := log.read_text()):
        if process.poll() is not None:
            raise SystemExit(text)
        time.sleep(0.002)
    url = text.split("listening on ")[1].split()[0]
    with urllib.request.urlopen(f"{url}/readyz", timeout=10):
        return process, url, time.perf_counter() - started


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that this program started."""
    process.terminate()
    process.wait(20)
    if process.stdout is not None:
        process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / TICKS


def run_load(url: str, body: Path, clients: int, seconds: float) -> dict[str, float]:
    """Figures of one measurement."""
    if not shutil.which("wrk"):
        command = [sys.executable, __file__, "--role", "load", "--url", url, "--body", str(body)]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    script = body.with_suffix(".lua")
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{body.read_text()}]]\n"
    )
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    percentiles = {p: float(n) * units[u] for p, n, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", out)}
    found = re.search(r"(\d+) requests in .*?Requests/sec:\s+([\d.]+)", out, re.DOTALL)
    assert found is not None
    return {
        "p50_ms": percentiles["50"],
        "p99_ms": percentiles["99"],
        "rps": float(found[2]),
        "requests": float(found[1]),
    }


async def load(url: str, body: bytes, clients: int, seconds: float) -> dict[str, float]:
    """Requests one after the other on each of some connections."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(name, int(port))
        while (started := time.perf_counter()) < end:
            writer.write(message)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode())
            length = re.search(rb"(?i)content-length: *(\d+)", answer)
            assert length is not None
            await reader.readexactly(int(length[1]))
            latencies.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    latencies.sort()
    return {
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
        "rps": len(latencies) / seconds,
        "requests": float(len(latencies)),
    }


class Constant(asyncio.Protocol):
    """Reads requests and gives each the same answer."""

    body = json.dumps({"predictions": [ROW]}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        n_bytes = int(length[1]) if length else 0
        if end and len(rest) >= n_bytes:
            self.received = rest[n_bytes:]
            self.transport.write(self.answer)


async def constant_server() -> None:
    """Serve until the process ends; the first line of stdout is the URL."""
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
