"""Load on a server from another process: wrk when it is installed, else a Python client over plain sockets.

The Python client is slower than the servers that it measures, so ratios from it are too small.

Example: python benchmarks/load.py http://127.0.0.1:5001/invocations body.json --connections 16
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["CLIENT", "Load", "load"]

CLIENT = "wrk" if shutil.which("wrk") else "python"

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\n{"requests_per_s": %.2f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class Load(NamedTuple):
    """What a server did under load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def load(url: str, body: Path, connections: int, seconds: float) -> Load:
    """Send a body over and over; every connection waits for its answer before it asks again."""
    if CLIENT == "python":
        command = [sys.executable, __file__, url, str(body), "--connections", str(connections)]
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], check=True, capture_output=True, text=True
        )
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(SCRIPT)
            script.flush()
            command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
            done = subprocess.run(
                [*command, "-s", script.name, url],
                env=os.environ | {"BODY": str(body)},
                check=True,
                capture_output=True,
                text=True,
            )
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


def _from_python(url: str, body: bytes, connections: int, seconds: float) -> Load:
    """The same from this process."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    errors = 0
    begin = time.perf_counter()
    for _ in range(connections):
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.sendall(message)
        selector.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
    while time.perf_counter() < begin + seconds:
        for key, _ in selector.select(1):
            state = key.data
            chunk = key.fileobj.recv(1 << 20)
            if not chunk:
                raise ConnectionError("the server closed a connection")
            state[1] += chunk
            header, found, content = state[1].partition(b"\r\n\r\n")
            length = header.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if not found or len(content) < int(length):
                continue
            now = time.perf_counter()
            latencies.append(now - state[0])
            errors += not header.startswith(b"HTTP/1.1 200")
            state[:] = now, b""
            key.fileobj.sendall(message)
    elapsed = time.perf_counter() - begin
    latencies.sort()
    p50, p99 = (1000 * latencies[int(share * len(latencies))] for share in (0.5, 0.99))
    return Load(len(latencies) / elapsed, p50, p99, errors)


def main(argv: list[str] | None = None) -> int:
    """Put load on a server and print what it did as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("body", type=Path, help="file with the JSON to send")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args(argv)
    result = _from_python(args.url, args.body.read_bytes(), args.connections, args.seconds)
    print(json.dumps(result._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
