"""What a table costs on each engine: a model of CPU time, fitted on some sizes and checked on others.

    python benchmarks/engines.py

Runs `score`, `spark-score` and the lean server (one row per request, one client) on tables of several sizes,
with forests of several sizes, each in processes of its own, and counts the CPU seconds of all of them, which
depend less than seconds on what else the machine does. Fits, for each engine,

    CPU = start + rows * (row + column * columns + tree * trees)

with no negative part, by least squares of relative errors; then predicts sizes that it was not fitted on,
larger than all of them, and tells the error. Prints tables, and JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.optimize import nnls

from proto_model.model import write_bundle
from proto_model.table import RawTable, encode, prepare
from proto_model.training import make_pipeline

ENGINES = ("score", "spark", "server")
# Rows, columns and trees.
FITTED = ((20_000, 10, 50), (200_000, 10, 200), (200_000, 40, 50), (400_000, 10, 50), (400_000, 40, 200))
CHECKED = ((800_000, 25, 100),)
# As many times the rows: a request is a row, and each engine has to do enough to be seen beside its start.
_TIMES = {"score": 2.0, "spark": 1.0, "server": 0.1}
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.05
_START_S = 300.0


@dataclass(frozen=True)
class Run:
    """An engine on a table, and what it took."""

    engine: str
    rows: int
    columns: int
    trees: int
    cpu_s: float

    @property
    def terms(self) -> list[float]:
        """What the parts of the cost are multiplied by."""
        return [1.0, self.rows, self.rows * self.columns, self.rows * self.trees]


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--json", type=Path, help="also write the results there")
    return parser


def main() -> int:
    """Measure, fit, check and print; 0."""
    arguments = build_parser().parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        for engine in arguments.engine:
            fitted = [_run(engine, size, Path(folder)) for size in FITTED]
            checked = [_run(engine, size, Path(folder)) for size in CHECKED]
            parts = fit(fitted)
            results.append(
                {
                    "engine": engine,
                    "start_s": parts[0],
                    "row_us": parts[1] * 1e6,
                    "column_us": parts[2] * 1e6,
                    "tree_us": parts[3] * 1e6,
                    "fitted": [asdict(run) | {"predicted_s": float(run.terms @ parts)} for run in fitted],
                    "checked": [asdict(run) | {"predicted_s": float(run.terms @ parts)} for run in checked],
                }
            )
            _show(results[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def fit(runs: list[Run]) -> NDArray[np.float64]:
    """Start, and the costs of a row, of a column of a row and of a tree for a row, in seconds."""
    terms = np.array([run.terms for run in runs])
    measured = np.array([run.cpu_s for run in runs])
    scale = terms.max(axis=0)
    parts, _ = nnls(terms / scale / measured[:, None], np.ones(len(runs)))
    found: NDArray[np.float64] = parts / scale
    return found


def _show(result: dict[str, object]) -> None:
    print(
        f"\n{result['engine']}: start {result['start_s']:.2f} s, and per row {result['row_us']:.2f} µs, "
        f"{result['column_us']:.3f} µs a column, {result['tree_us']:.4f} µs a tree"
    )
    for kind in ("fitted", "checked"):
        for run in result[kind]:  # type: ignore[attr-defined]
            error = run["predicted_s"] / run["cpu_s"] - 1
            print(
                f"  {kind}: {run['rows']:>9,} rows x {run['columns']} columns, {run['trees']} trees: "
                f"{run['cpu_s']:.2f} s measured, {run['predicted_s']:.2f} s predicted, {error:+.0%}",
                flush=True,
            )


def _run(engine: str, size: tuple[int, int, int], folder: Path) -> Run:
    rows, columns, trees = size
    model = _model(columns, trees, folder)
    rows = round(rows * _TIMES[engine])
    if engine == "server":
        return Run(engine, rows, columns, trees, _served(model, rows, columns))
    table = _table(rows, columns, folder)
    target = folder / f"{engine}-{rows}-{columns}-{trees}.parquet"
    words = ["--input", table, "--output", target, "--model", model]
    more = ["--master", "local[2]"] if engine == "spark" else []
    command = "spark-score" if engine == "spark" else "score"
    process = _started(folder, command, *words, *more)
    cpu_s = _cpu_until_end(process)
    if process.returncode:
        raise SystemExit(f"{command} failed: {(folder / 'log').read_text()}")
    return Run(engine, rows, columns, trees, cpu_s)


def _started(folder: Path, *words: object) -> subprocess.Popen[bytes]:
    """A command of ours, the first process of a session of its own."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "proto_model", *map(str, words)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _cpu_until_end(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of all processes of a session, looked at until its first process ends."""
    seen: dict[int, float] = {}
    while process.poll() is None:
        seen |= _cpu_of_session(process.pid)
        time.sleep(_LOOK_S)
    return sum(seen.values())


def _cpu_of_session(session: int) -> dict[int, float]:
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            found[int(place.parent.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _served(model: Path, rows: int, columns: int) -> float:
    """CPU seconds of a server that starts, answers rows one by one, and is asked to end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = _started(model.parent, "serve", "-m", model, "-p", port, "--workers", 1)
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server did not start: {(model.parent / 'log').read_text()}")
            time.sleep(_LOOK_S)
        generator = np.random.default_rng(0)
        names = [f"x{i}" for i in range(columns)]
        client = http.client.HTTPConnection("127.0.0.1", port)
        for row in generator.normal(size=(rows, columns)).tolist():
            body = json.dumps({"dataframe_records": [dict(zip(names, row, strict=True))]})
            client.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"The server answered {answer.status}.")
        client.close()
        return sum(_cpu_of_session(process.pid).values())
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        client.request("GET", "/ping")
        return client.getresponse().status == 200
    except OSError:
        return False


def _table(rows: int, columns: int, folder: Path) -> Path:
    """Rows of normal numbers, made once."""
    path = folder / f"{rows}-{columns}.parquet"
    if not path.exists():
        generator = np.random.default_rng(0)
        arrays = {f"x{i}": generator.normal(size=rows) for i in range(columns)}
        pq.write_table(pa.table(arrays), path, row_group_size=50_000)
    return path


def _model(columns: int, trees: int, folder: Path) -> Path:
    """A forest that is as deep as those of training, made once."""
    model = folder / f"model-{columns}-{trees}"
    if not model.exists():
        generator = np.random.default_rng(1)
        X = generator.normal(size=(2_000, columns))
        label = np.where(X[:, 0] + X[:, 1] * X[:, 2] + generator.normal(size=2_000) > 0, "yes", "no")
        table = pa.table({f"x{i}": X[:, i] for i in range(columns)} | {"class": label})
        data = prepare(RawTable("normal", "normal.parquet", table))
        pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=trees)
        pipeline.fit(data.X_train, data.y_train)
        write_bundle(model / "artifacts" / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    return model


if __name__ == "__main__":
    sys.exit(main())
