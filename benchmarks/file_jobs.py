"""A large file scored by each server, through the mapper, while predictions of single rows go on.

    python benchmarks/file_jobs.py --size-mb 1000 --mlserver /path/to/venv/bin/mlserver

A version of a model takes rows or files, so each kind of server runs twice, with a mapper before each: one
for files, one for rows, on the same cores. A client sends one row at a time to the rows' mapper, at a steady
rate; another asks once a second whether the mapper and the server for files are ready. Latencies count from
the moment a request was due. Prints a table, and JSON with `--json FILE`. Ends with 1 when an answer was
wrong or missing, a job was not done, or something was left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from servers import machine

ROOT = Path(__file__).resolve().parents[1]
ObjectStore = runpy.run_path(str(ROOT / "scripts" / "object_store.py"))["ObjectStore"]
KINDS = ("mlflow", "lean", "mlserver")
N_TREES = 200
START_S = 120.0
STOP_S = 60.0
TIMEOUT_S = 4 * 3600
_CHUNK_ROWS = 16_384


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-mb", type=int, default=100, help="of the CSV file")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="of the file to score")
    parser.add_argument("--server", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--mlserver", type=_program, help="the command of an environment with MLServer")
    parser.add_argument("--rate", type=float, default=20.0, help="predictions asked for per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of predictions before the job")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the results there")
    return parser


def _program(text: str) -> Path:
    return Path(text).absolute()


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 0 when every job was done and no prediction failed."""
    parser = build_parser()
    args = parser.parse_args(argv)
    kinds = [kind for kind in args.server if kind != "mlserver" or args.mlserver]
    if len(kinds) < len(args.server):
        print("MLServer is left out: --mlserver names its command.", file=sys.stderr)
    results: dict[str, Any] = {"machine": machine(), "size_mb": args.size_mb, "format": args.format}
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        row = _make_models(folder)
        with ObjectStore.running(folder / "store") as store:
            n_rows = _make_file(folder, store.path("in"), args.size_mb, args.format)
            results["rows"] = n_rows
            results["servers"] = []
            _print_head(results)
            for kind in kinds:
                result = _measured(kind, folder, store, row, n_rows, args)
                _print(result)
                results["servers"].append(result)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0 if all(result["good"] for result in results["servers"]) else 1


def _make_models(folder: Path) -> dict[str, float]:
    """Save one forest for rows and one for files; a row for them."""
    import warnings

    from proto_model.model import write_bundle
    from proto_model.registry.logged_model import CODE, example_rows, save_model
    from proto_model.registry.signature import file_signature, rows_signature
    from proto_model.table import encode, load_training_data
    from proto_model.training import make_pipeline

    data = load_training_data("breast_cancer", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=N_TREES)
    pipeline.fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    for name, code, signature in (
        ("rows", "forest.py", rows_signature(data.schema)),
        ("files", "file.py", file_signature()),
    ):
        example = example_rows(encode(data.X_test, data.schema), data.schema) if name == "rows" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_model(
                folder / name,
                bundle=folder / "bundle",
                code=CODE / code,
                signature=signature,
                input_example=example,
            )
    np.savez(folder / "values.npz", X=data.X_train.to_numpy(), names=np.array(data.schema.feature_names))
    return {name: float(value) for name, value in data.X_test.iloc[0].items()}


def _make_file(folder: Path, path: Path, size_mb: int, kind: str) -> int:
    """Write a file of 30 double columns, the same 16 384 rows over and over; the number of its rows."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    content = np.load(folder / "values.npz")
    X, names = content["X"], content["names"].tolist()
    rng = np.random.default_rng(0)
    rows = X[rng.integers(0, len(X), _CHUNK_ROWS)] * rng.uniform(0.8, 1.25, (_CHUNK_ROWS, len(names)))
    table = pa.table(dict(zip(names, rows.T, strict=True)))
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink, pa.csv.WriteOptions(include_header=False))
    lines = sink.getvalue()
    n_chunks = max(1, round(size_mb * 1_000_000 / lines.size))
    if kind == "parquet":
        with pq.ParquetWriter(path, table.schema, compression="zstd") as parquet:
            for _ in range(n_chunks):
                parquet.write_table(table)
    else:
        with open(path, "wb") as file:
            file.write((",".join(f'"{name}"' for name in names) + "\n").encode())
            for _ in range(n_chunks):
                file.write(lines)
    return n_chunks * _CHUNK_ROWS


def _measured(
    kind: str, folder: Path, store: ObjectStore, row: dict[str, float], n_rows: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Latencies before and during the job, what the job cost, and whether all went well."""
    home = folder / kind
    temp = home / "temp"
    temp.mkdir(parents=True)
    settings = store.settings | {"PROTO_MODEL_FILES_TEMP_DIR": str(temp)}
    urls = {"input_url": store.presign("get_object", "in"), "output_url": store.presign("put_object", kind)}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        names = ("rows", "files")
        servers = [
            _start_server(kind, folder / name, home / name, args.mlserver, settings, processes)
            for name in names
        ]
        mappers = {
            name: _start_mapper(folder / name, server, home / name, processes)
            for name, server in zip(names, servers, strict=True)
        }
        for name, server, process in zip(names, servers, processes, strict=False):
            _await(lambda server=server: _pings(server), process, home / name / "server.log")
        pids = [processes[1].pid, *_descendants(processes[1].pid)]  # of the server for files

        predictions = Client(mappers["rows"], "/v1/predict", {"data": row}, 1 / args.rate)
        readiness = Client(mappers["files"], "/readyz", None, 1.0)
        predictions.run(lambda: predictions.n_asked < 5)
        ends = time.perf_counter() + args.seconds
        before = predictions.run(lambda: time.perf_counter() < ends)
        idle_mib = max(_status_mib(pid, "VmRSS") for pid in pids)
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
        cpu_s = sum(map(_cpu_s, pids))
        with ThreadPoolExecutor(2) as threads:
            job = threads.submit(_scored, mappers["files"], urls)
            ready = threads.submit(readiness.run, lambda: not job.done())
            during = predictions.run(lambda: not job.done())
        summary, wall_s = job.result()
        result = {
            "server": kind,
            "job_s": wall_s,
            "cpu_s": sum(map(_cpu_s, pids)) - cpu_s,
            "mb_per_s": store.path("in").stat().st_size / 1e6 / wall_s,
            "idle_mib": idle_mib,
            "peak_mib": max(_status_mib(pid, "VmHWM") for pid in pids),
            "before": before,
            "during": during,
            "ready": ready.result(),
            "job": summary,
        }
    finally:
        stop_s, n_killed = _stop(processes)
    result |= {"stop_s": stop_s, "killed": n_killed, "left_behind": len(list(temp.iterdir()))}
    result["failed"] = sum(result[asked]["failed"] for asked in ("before", "during", "ready"))
    result["good"] = (
        summary["status"] == "done"
        and summary["rows"] == n_rows
        and summary["sha256"] == _sha256(store.path(kind))
        and not (result["failed"] or n_killed or result["left_behind"])
    )
    return result


class Client:
    """Asks a mapper for the same thing again and again, over one connection, each time when it is due.

    Parameters
    ----------
    mapper : str
        Its URL.
    path : str
        What is asked for.
    body : dict or None
        Of a POST; a GET has none.
    interval_s : float
        From one request to the next. After an answer that took longer the next are late, and that counts.
    """

    def __init__(self, mapper: str, path: str, body: dict[str, Any] | None, interval_s: float) -> None:
        self._path, self._interval_s = path, interval_s
        self._body = json.dumps(body) if body else None
        self._connection = http.client.HTTPConnection(urlsplit(mapper).netloc, timeout=60)
        self._expected: Any = None
        self.n_asked = 0

    def run(self, go_on: Callable[[], bool]) -> dict[str, Any]:
        """Ask as long as `go_on` holds; latencies in milliseconds, and how many answers were wrong."""
        latencies_ms: list[float] = []
        failed = 0
        due = time.perf_counter()
        while go_on():
            failed += not self._ask()
            now = time.perf_counter()
            latencies_ms.append(1000 * (now - due))
            due += self._interval_s
            time.sleep(max(0.0, due - now))
        p50, p99, most = np.percentile(latencies_ms, [50, 99, 100]).tolist() if latencies_ms else [0.0] * 3
        return {"asked": len(latencies_ms), "failed": failed, "p50_ms": p50, "p99_ms": p99, "max_ms": most}

    def _ask(self) -> bool:
        """Whether the answer is the one that came first."""
        self.n_asked += 1
        headers = {"Content-Type": "application/json"} if self._body else {}
        try:
            self._connection.request("POST" if self._body else "GET", self._path, self._body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            print(f"{self._path}: {error!r}", file=sys.stderr)
            self._connection.close()
            return False
        if answer.status != 200:
            print(f"{self._path}: {answer.status} {content!r}", file=sys.stderr)
            return False
        given = json.loads(content).get("predictions")
        self._expected = self._expected or given
        return bool(given == self._expected)


def _start_server(
    kind: str,
    model: Path,
    home: Path,
    mlserver: Path | None,
    settings: dict[str, str],
    processes: list[subprocess.Popen[bytes]],
) -> str:
    """URL at which a server of a model will answer."""
    home.mkdir()
    port, *others = _free_ports(3)
    variables = settings | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command: list[Any]
    if kind == "mlflow":
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
        command += ["-h", "127.0.0.1", "-p", port, "--timeout", TIMEOUT_S]
    elif kind == "lean":
        command = [sys.executable, "-m", "proto_model", "serve", "-m", model, "-p", port]
    else:
        from proto_model.serving.mlserver.configs import write_mlserver_configs

        ports = zip(("HTTP", "GRPC", "METRICS"), (port, *others), strict=True)
        numbers = {f"MLSERVER_{name}_PORT": str(number) for name, number in ports}
        write_mlserver_configs(shutil.copytree(model, home / "model"), home / "build", numbers)
        command = [mlserver, "start", home / "build"]
    _started(command, home / "server.log", home, variables, processes)
    return f"http://127.0.0.1:{port}"


def _start_mapper(model: Path, server: str, home: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    """URL of a mapper before a server, once it listens."""
    command = [sys.executable, "-m", "mapper", "serve", "--model-server-url", server, "--port", 0]
    command += ["--schema", model / "mapper" / "schema.json", "--file-timeout-s", TIMEOUT_S]
    command += ["--signature", "file" if model.name == "files" else "rows"]
    log = home / "mapper.log"
    process = _started(command, log, home, {}, processes)
    _await(lambda: "listening on " in log.read_text(), process, log)
    return log.read_text().split("listening on ")[1].split()[0]


def _started(
    command: list[Any],
    log: Path,
    home: Path,
    variables: dict[str, str],
    processes: list[subprocess.Popen[bytes]],
) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | variables,
            cwd=home,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    processes.append(process)
    return process


def _await(holds: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while not holds():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{process.args} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)


def _stop(processes: list[subprocess.Popen[bytes]]) -> tuple[float, int]:
    """End all processes; how long that took, and how many did not end by themselves."""
    began = time.perf_counter()
    n_killed = 0
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        until = time.monotonic() + STOP_S
        while _group_lives(process.pid) and time.monotonic() < until:
            time.sleep(0.02)  # children end after their parent
        if _group_lives(process.pid):
            n_killed += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return time.perf_counter() - began, n_killed


def _group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _scored(mapper: str, urls: dict[str, str]) -> tuple[dict[str, Any], float]:
    """Summary of a file job, and how long it took."""
    content = json.dumps({"file": urls}).encode()
    request = urllib.request.Request(f"{mapper}/v1/predict", content, {"Content-Type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        summary: dict[str, Any] = json.load(answer)["file"]
    return summary, time.perf_counter() - began


def _pings(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ping", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in children for found in (int(child), *_descendants(int(child)))]


def _status_mib(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sha256(path: Path) -> str | None:
    if not path.exists():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _print_head(results: dict[str, Any]) -> None:
    print(json.dumps(results["machine"]))
    print(f"{results['size_mb']} MB {results['format']}, {results['rows']:,} rows; JSON latencies in ms\n")
    print(f"{'':18}{'of the job':^44}{'  predictions before':<18}{'  during the job':<27}{'   ready':9}")
    heads = ("s", "CPU s", "MB/s", "idle MiB", "peak MiB", "p50", "p99", "p50", "p99", "max", "max")
    widths = (8, 8, 8, 10, 10, 9, 9, 9, 9, 9, 9)
    line = "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    print(f"{'server':10}{'job':8}{line}{'asked':>7}{'failed':>7}{'stop s':>8}")


def _print(result: dict[str, Any]) -> None:
    before, during = result["before"], result["during"]
    print(
        f"{result['server']:10}{result['job']['status']:8}{result['job_s']:8.2f}{result['cpu_s']:8.2f}"
        f"{result['mb_per_s']:8.0f}{result['idle_mib']:10.0f}{result['peak_mib']:10.0f}"
        f"{before['p50_ms']:9.2f}{before['p99_ms']:9.2f}"
        f"{during['p50_ms']:9.2f}{during['p99_ms']:9.2f}{during['max_ms']:9.2f}"
        f"{result['ready']['max_ms']:9.2f}{before['asked'] + during['asked']:7}{result['failed']:7}"
        f"{result['stop_s']:8.2f}"
    )
    if result["job"]["error"]:
        print(f"  {result['job']['error']}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
