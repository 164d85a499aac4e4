"""File scoring against the obvious way, side by side, through a store that checks signatures.

    python benchmarks/files.py --size-mb 100 --format csv parquet

The obvious way: pandas reads the URL, the scikit-learn pipeline predicts, `to_csv` or `to_parquet`, one PUT.
The floor: parsing and predicting alone, by Arrow's reader and the compiled forest on one thread, from a local
file in the page cache, without order, checks, output or network. Each way runs in a process of its own, one
after the other; the store knows its objects' checksums before the first of them asks, as a store in the cloud
does. Prints a table and what follows from it, and JSON with `--json FILE`. Sizes are those of the CSV file;
the Parquet file holds the same rows. The obvious way is left out where the free memory would not hold it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from scripts.object_store import ObjectStore  # noqa: E402

N_TREES = 200
WAYS = ("naive", "ours", "floor")
_CHUNK_ROWS = 65_536
_NAIVE_SHARE = 3  # of the CSV file's size: memory that the obvious way needs, with something to spare


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-mb", type=int, nargs="+", default=[100], help="sizes of the CSV file")
    parser.add_argument("--format", nargs="+", choices=["csv", "parquet"], default=["csv", "parquet"])
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the files go and stay for the next run (default: a temporary folder)",
    )
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, or one way of it in a process of its own."""
    arguments = build_parser().parse_args(argv)
    if arguments.worker:
        way, task = arguments.worker
        print(json.dumps(_WORKERS[way](json.loads(task))))
        return 0
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = list(_run(folder, arguments))
    _show_growth(results)
    if arguments.json:
        machine = {"cpu": platform.processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    return 0


def _run(folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    _make_model(folder)
    heads = ("wall s", "CPU s", "rows/s", "peak MiB", "job MiB")
    print(f"{'file':<16}{'way':<8}{'rows':>10}" + "".join(f"{head:>11}" for head in heads))
    with ObjectStore.running(folder / "store", checksums=folder / "checksums") as store:
        for size_mb in arguments.size_mb:
            _make_table(store, size_mb)
            n_rows = pq.read_metadata(store.path(f"{size_mb}.parquet")).num_rows
            for kind in arguments.format:
                _learn_checksum(store, f"{size_mb}.{kind}")
                by_way = {}
                for way in arguments.way:
                    if way == "naive" and not _fits_in_memory(size_mb):
                        print(f"{size_mb} MB {kind}: naive left out, not enough memory is free")
                        continue
                    result = _measured(store, way, f"{size_mb}.{kind}")
                    by_way[way] = result | {"size_mb": size_mb, "format": kind, "rows": n_rows}
                    _show(by_way[way])
                    yield by_way[way]
                _show_ratios(by_way)
            if arguments.folder is None:
                for kind in ("csv", "parquet"):
                    store.path(f"{size_mb}.{kind}").unlink()


def _make_model(folder: Path) -> None:
    """A forest of 30 double columns, as training would leave it."""
    if (folder / "bundle").exists():
        return
    from proto_model.model import write_bundle
    from proto_model.table import encode, load_training_data
    from proto_model.training import make_pipeline

    data = load_training_data("breast_cancer", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=N_TREES)
    pipeline.fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    np.savez(folder / "values.npz", X=data.X_train.to_numpy(), names=np.array(data.schema.feature_names))


def _make_table(store: ObjectStore, size_mb: int) -> None:
    """Write a CSV file of about the size, and a Parquet file with the same rows, unless they are there."""
    csv_path, parquet_path = (store.path(f"{size_mb}.{kind}") for kind in ("csv", "parquet"))
    if csv_path.exists() and parquet_path.exists():
        return
    content = np.load(Path(store.folder).parent / "values.npz")
    X, names = content["X"], content["names"].tolist()
    rng = np.random.default_rng(size_mb)
    schema = pa.schema([(name, pa.float64()) for name in names])
    unfinished = csv_path.with_suffix(".part")
    with (
        open(unfinished, "wb") as csv_file,
        pq.ParquetWriter(parquet_path, schema, compression="zstd") as parquet,
    ):
        while csv_file.tell() < size_mb * 1_000_000:
            rows = X[rng.integers(0, len(X), _CHUNK_ROWS)] * rng.uniform(0.8, 1.25, (_CHUNK_ROWS, len(names)))
            table = pa.table(dict(zip(names, rows.T, strict=True)), schema=schema)
            pa.csv.write_csv(table, csv_file, pa.csv.WriteOptions(include_header=csv_file.tell() == 0))
            parquet.write_table(table)
    unfinished.rename(csv_path)


def _learn_checksum(store: ObjectStore, key: str) -> None:
    """Have the store read an object through, which brings it into the page cache, too."""
    request = urllib.request.Request(store.presign("get_object", key), headers={"Range": "bytes=0-0"})
    urllib.request.urlopen(request).close()


def _fits_in_memory(size_mb: int) -> bool:
    return _free_kib() * 1024 > _NAIVE_SHARE * size_mb * 1_000_000


def _free_kib() -> int:
    """Memory that new processes can have."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line)
    return int(line.split()[1])


def _measured(store: ObjectStore, way: str, key: str) -> dict[str, Any]:
    """Time and memory of one way; raises SystemExit when it predicts other labels than the ways before."""
    kind = key.rpartition(".")[2]
    output = f"{way}.{kind}"
    task = {
        "folder": str(Path(store.folder).parent),
        "path": str(store.path(key)),
        "input_url": store.presign("get_object", key),
        "output_url": store.presign("put_object", output),
        "settings": store.settings,
        "kind": kind,
    }
    command = [sys.executable, __file__, "--worker", way, json.dumps(task)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = {"way": way, **json.loads(finished.stdout.splitlines()[-1])}
    if way != "floor":
        result["labels"] = _labels_digest(store.path(output), kind)
        store.path(output).unlink()
    return result


def _show(result: dict[str, Any]) -> None:
    name = f"{result['size_mb']} MB {result['format']}"
    print(
        f"{name:<16}{result['way']:<8}{result['rows']:>10,}{result['wall_s']:>11.2f}{result['cpu_s']:>11.2f}"
        f"{result['rows'] / result['wall_s']:>11,.0f}{result['peak_mib']:>11.0f}{result['job_mib']:>11.0f}",
        flush=True,
    )


def _show_ratios(by_way: dict[str, dict[str, Any]]) -> None:
    """What the figures of one file say; raises SystemExit when the labels differ."""
    if "ours" not in by_way:
        return
    ours, naive, floor = by_way["ours"], by_way.get("naive"), by_way.get("floor")
    said = []
    if naive:
        if naive["labels"] != ours["labels"]:
            raise SystemExit("The labels differ between the ways.")
        said += [f"{naive['wall_s'] / ours['wall_s']:.1f} times as fast as naive", "the same labels"]
    if floor:
        said.append(f"{ours['cpu_s'] / floor['cpu_s']:.2f} times the CPU of parsing and predicting alone")
    if said:
        print(f"  ours: {', '.join(said)}", flush=True)


def _show_growth(results: list[dict[str, Any]]) -> None:
    """How much more memory ours takes for the largest file than for the smallest."""
    for kind in ("csv", "parquet"):
        ours = [result for result in results if result["way"] == "ours" and result["format"] == kind]
        if len(ours) > 1:
            small, *_, large = sorted(ours, key=lambda result: float(result["size_mb"]))
            grown = large["peak_mib"] - small["peak_mib"]
            print(f"{kind}: peak memory {grown:+.0f} MiB from {small['size_mb']} to {large['size_mb']} MB")


def _labels_digest(path: Path, kind: str) -> str:
    """Digest of the predicted labels, in order."""
    if kind == "csv":
        convert = pa.csv.ConvertOptions(include_columns=["prediction"])
        labels = pa.csv.read_csv(path, convert_options=convert)["prediction"]
    else:
        labels = pq.read_table(path, columns=["prediction"])["prediction"]
    digest = hashlib.md5()
    for chunk in labels.chunks:
        digest.update("".join(label + "\n" for label in chunk.to_pylist()).encode())
    return digest.hexdigest()


def _status_kib(name: str) -> int:
    """A figure of /proc/self/status, as `resource` counts a parent's memory in."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


class _Meter:
    """Time and memory from here to `result`."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        self._rss_kib = _status_kib("VmRSS")
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def result(self) -> dict[str, float]:
        """Peak memory is the whole process's; `job_mib` what of it came on top of the loaded model."""
        peak_kib = _status_kib("VmHWM")
        return {
            "wall_s": time.perf_counter() - self._wall_s,
            "cpu_s": time.process_time() - self._cpu_s,
            "peak_mib": peak_kib / 1024,
            "job_mib": (peak_kib - self._rss_kib) / 1024,
        }


def _naive(task: dict[str, Any]) -> dict[str, float]:
    import pandas as pd

    from proto_model.model import Bundle

    pipeline = Bundle.load(Path(task["folder"]) / "bundle").pipeline
    meter = _Meter()
    read = pd.read_csv if task["kind"] == "csv" else pd.read_parquet
    frame = read(task["input_url"])
    predicted = pd.DataFrame({"prediction": pipeline.predict(frame)})
    if task["kind"] == "csv":
        body = predicted.to_csv(index=False).encode()
    else:
        buffer = io.BytesIO()
        predicted.to_parquet(buffer, index=False)
        body = buffer.getvalue()
    request = urllib.request.Request(task["output_url"], body, {"Content-Type": ""}, method="PUT")
    urllib.request.urlopen(request).close()
    return meter.result()


def _ours(task: dict[str, Any]) -> dict[str, float]:
    from proto_model.files import FileJob, run_jobs
    from proto_model.files.transfer import FileSettings
    from proto_model.model import Bundle, Predictor
    from proto_model.parameters import FILE, Parameters

    model = Predictor(Bundle.load(Path(task["folder"]) / "bundle"), FILE)
    settings = FileSettings.from_environment(task["settings"])
    meter = _Meter()
    [summary] = run_jobs([FileJob(task["input_url"], task["output_url"])], model, Parameters(), settings)
    if summary.status != "done":
        raise SystemExit(summary.error)
    return meter.result()


def _floor(task: dict[str, Any]) -> dict[str, float]:
    from proto_model.model import Bundle
    from proto_model.table.arrow_values import to_numbers

    bundle = Bundle.load(Path(task["folder"]) / "bundle")
    names = bundle.schema.feature_names
    meter = _Meter()
    if task["kind"] == "csv":
        types = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()))
        reading = pa.csv.ReadOptions(use_threads=False)
        batches: Any = pa.csv.open_csv(task["path"], reading, convert_options=types)
    else:
        file = pq.ParquetFile(task["path"], pre_buffer=False, buffer_size=1 << 17)
        batches = file.iter_batches(8_192, use_threads=False)
    for batch in batches:
        matrix = np.column_stack([to_numbers(column) for column in batch.select(names).columns])
        bundle.forest.predict_proba(matrix, n_threads=1)
    return meter.result()


_WORKERS = {"naive": _naive, "ours": _ours, "floor": _floor}


if __name__ == "__main__":
    sys.exit(main())
