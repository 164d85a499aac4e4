"""Scoring on Spark beside what others do with the same forest, in turns, on one machine.

    python benchmarks/spark.py --rows 10000000 --growth 1 10 100

All ways take the same 30 columns of doubles from Parquet, and give one of them, prediction, and probabilities
to a sink that keeps nothing:

- frame, columns: ours, as `frame.transform(scorer(...))` and as the function of columns,
- floor, columns_floor: pass-throughs by `mapInArrow` and by `arrow_udf`, which take the same columns and
  answer constants of the same types,
- expert: a `pandas_udf` over an iterator, with the scikit-learn forest in a broadcast, loaded once,
- plain: `mlflow.pyfunc.spark_udf` of a cloudpickle pyfunc of the same forest.

`local` is `proto_model score` on a file of the same rows, and `engine` the compiled forest alone, on one
thread and a matrix in memory. Both forests have 200 trees: `--forest made` learned 6,000 rows and has deep
trees, `--forest registered` learned breast_cancer with the default settings, the first candidate of
`mlflow run ./src`. Rows are normal, as the columns of breast_cancer about are once standardized, which
changes no split.

CPU is that of all processes of Spark, the JVM included; memory is the peak of a Python worker (VmHWM), and
that of the JVM. Figures are the lowest of the rounds. `--growth` repeats ours with so many millions of rows,
and `--cores 1 2` with so many cores: the JVM and its workers are bound to them, because otherwise one task
keeps two busy, one with Java and one with Python. Prints a table, and JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_COLUMNS, N_TREES, BATCH_ROWS = 30, 200, 65_536
NAMES = [f"c{place}" for place in range(N_COLUMNS)]
FILE_ROWS = 250_000
WAYS = ("frame", "floor", "columns", "columns_floor", "expert", "plain")
FORESTS = ("made", "registered")
ANSWER = "prediction string, probability double, probability_no double, probability_yes double"
ANSWERED = [field.split()[0] for field in ANSWER.split(", ")]
TICKS = os.sysconf("SC_CLK_TCK")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000, help="rows to compare on (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--forest", choices=FORESTS, default="made", help="default: %(default)s")
    parser.add_argument(
        "--cores", type=int, nargs="+", default=[1, 2], help="that ours is bound to, in turns (default: 1 2)"
    )
    parser.add_argument(
        "--growth", type=float, nargs="*", default=[], help="millions of rows, for ours alone"
    )
    parser.add_argument("--folder", type=Path, help="where the files go and stay for the next run")
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, or one session of Spark in a process of its own."""
    arguments = build_parser().parse_args(argv)
    if arguments.worker:
        print("\n" + json.dumps(_session(**json.loads(arguments.worker))))
        return 0
    with tempfile.TemporaryDirectory(prefix="spark-") as temporary:
        folder = (arguments.folder or Path(temporary)) / arguments.forest
        folder.mkdir(parents=True, exist_ok=True)
        _apart("model", folder=str(folder), forest=arguments.forest)
        results = {"rows": arguments.rows, "forest": arguments.forest}
        n_cores = max(arguments.cores)
        common = {"folder": str(folder), "rounds": arguments.rounds}
        asked = {"ways": arguments.ways, "rows": arguments.rows, "cores": n_cores}
        results["ways"] = _apart("session", **common, **asked)
        results["ways"] |= _apart("local", **common, rows=arguments.rows)
        _show(results)
        cores = arguments.cores if len(arguments.cores) > 1 else []  # else it ran above
        for name, sizes in (("cores", cores), ("growth", arguments.growth)):
            for size in sizes:
                rows = arguments.rows if name == "cores" else int(size * 1_000_000)
                task = {"rows": rows, "cores": size if name == "cores" else n_cores}
                rounds = {"rounds": arguments.rounds if rows <= 10_000_000 else 1}
                found = _apart("session", **(common | rounds), ways=["frame"], **task)["frame"]
                results.setdefault(name, {})[str(size)] = found
                unit = "core(s)" if name == "cores" else "million rows"
                print(f"{size:g} {unit}: " + _figures(found, rows), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def _apart(kind: str, **task: Any) -> Any:
    """Result of a part in a process of its own."""
    given = json.dumps({"kind": kind, **task})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", given],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def _session(kind: str, **task: Any) -> Any:
    warnings.simplefilter("ignore")
    return {"model": _make_model, "session": _compared, "local": _local}[kind](**task)


def _make_model(folder: str, forest: str) -> None:
    """A forest, as a bundle and as a plain pyfunc."""
    import mlflow
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    from proto_model.model import write_bundle
    from proto_model.table import RawTable, encode, prepare
    from proto_model.training import make_pipeline

    place = Path(folder)
    if (place / "plain").exists():
        return
    table = _learned_from() if forest == "made" else _breast_cancer()
    options = {"n_estimators": N_TREES, "min_samples_leaf": 3} if forest == "made" else {}
    data = prepare(RawTable("made", "made.parquet", table))
    pipeline = make_pipeline("random_forest", data.schema, 0, **options)
    pipeline.fit(data.X_train, data.y_train)
    write_bundle(place / "artifacts" / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    trained = pipeline[-1]
    assert isinstance(trained, RandomForestClassifier)
    trained.n_jobs = 1

    class Plain(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame) -> pd.DataFrame:
            return _answer(trained, model_input)

    mlflow.pyfunc.save_model(place / "plain", python_model=Plain(), pip_requirements=[])


def _answer(forest: Any, frame: Any) -> Any:
    """Prediction and probabilities of a scikit-learn forest, as an expert writes it."""
    import pandas as pd

    scores = forest.predict_proba(frame[NAMES].to_numpy())
    best = scores.argmax(axis=1)
    return pd.DataFrame(
        {
            "prediction": forest.classes_[best].astype(object),
            "probability": scores.max(axis=1),
            "probability_no": scores[:, 0],
            "probability_yes": scores[:, 1],
        }
    )


def _learned_from() -> pa.Table:
    """Rows whose class needs deep trees."""
    table = _rows(6_000, 0)
    centre = [table[name].to_numpy() for name in NAMES[:5]]
    noise = np.random.default_rng(1).normal(0, 0.7, table.num_rows)
    target = np.where(sum(centre) + centre[0] * centre[1] + noise > 0.3, "yes", "no")
    return table.append_column("class", pa.array(target.tolist()))


def _breast_cancer() -> pa.Table:
    """The table that `mlflow run ./src` learns from by default, standardized, with the names used here."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    columns = dict(zip(NAMES, X.T, strict=True)) | {"class": np.where(y == 1, "yes", "no").tolist()}
    return pa.table(columns)


def _rows(n_rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({name: rng.normal(size=n_rows) for name in NAMES})


def _table(folder: str, n_rows: int) -> Path:
    """Folder of Parquet files with so many rows; after the fifth file, links to the same ones."""
    made, table = Path(folder).parent / "rows", Path(folder).parent / f"rows-{n_rows}"
    made.mkdir(exist_ok=True)
    if table.exists():
        return table
    table.mkdir()
    for number, start in enumerate(range(0, n_rows, FILE_ROWS)):
        n_here = min(FILE_ROWS, n_rows - start)
        file = made / f"{number % 5}-{n_here}.parquet"
        if not file.exists():
            pq.write_table(_rows(n_here, number % 5), file, compression="zstd")
        os.link(file, table / f"part-{number:05}.parquet")
    return table


def _compared(folder: str, rounds: int, ways: list[str], rows: int, cores: int) -> dict[str, Any]:
    """Lowest figures of each way, which take turns in one session on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
    }
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    made = {way: _WAYS[way](spark, folder) for way in ways}
    # A file for each worker, so that all have loaded the model.
    warm, table = _table(folder, 4 * FILE_ROWS), _table(folder, rows)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for way in ways:
        made[way](spark.read.parquet(str(warm))).write.format("noop").mode("overwrite").save()
    for _ in range(rounds):
        for way in ways:
            before, begun = _cpu_seconds(), time.perf_counter()
            made[way](spark.read.parquet(str(table))).write.format("noop").mode("overwrite").save()
            found[way].append({"wall": time.perf_counter() - begun, "cpu": _cpu_seconds() - before})
    peaks = _peaks()
    spark.stop()
    return {way: _lowest(turns) | peaks for way, turns in found.items()}


def _lowest(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(turn[name] for turn in turns) for name in turns[0]}


def _frame(spark: Any, folder: str) -> Callable[[Any], Any]:
    from proto_model.spark import scorer

    score = scorer(spark, folder, passthrough=NAMES[:1])
    return lambda rows: rows.transform(score)


def _columns(spark: Any, folder: str) -> Callable[[Any], Any]:
    from proto_model.spark import udf

    predict = udf(spark, folder)
    return lambda rows: rows.select(NAMES[0], predict().alias("p"))


def _constants(n_rows: int) -> list[pa.Array]:
    """An answer that takes no time, of the types of ours."""
    half = pa.array(np.full(n_rows, 0.5))
    labels = pa.array(["no"]).take(pa.array(np.zeros(n_rows, dtype=np.int64)))
    return [labels, half, half, half]


def _floor(spark: Any, folder: str) -> Callable[[Any], Any]:
    def answer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = [batch.column(0), *_constants(batch.num_rows)]
            yield pa.RecordBatch.from_arrays(arrays, names=[batch.schema.names[0], *ANSWERED])

    return lambda rows: rows.mapInArrow(answer, f"{NAMES[0]} double, {ANSWER}")


def _columns_floor(spark: Any, folder: str) -> Callable[[Any], Any]:
    from pyspark.sql.functions import ArrowUDFType, arrow_udf

    def answer(*columns: pa.Array) -> pa.Array:
        return pa.StructArray.from_arrays(_constants(len(columns[0])), names=ANSWERED)

    function = arrow_udf(answer, ANSWER, ArrowUDFType.SCALAR)
    return lambda rows: rows.select(NAMES[0], function(*NAMES).alias("p"))


def _expert(spark: Any, folder: str) -> Callable[[Any], Any]:
    import pandas as pd
    from pyspark.sql import functions as F

    from proto_model.model.bundle import Bundle

    forest = Bundle.load(Path(folder) / "artifacts" / "bundle").pipeline[-1]
    forest.n_jobs = 1
    shared = spark.sparkContext.broadcast(forest)

    def predict(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        loaded = shared.value
        for batch in batches:
            scores = loaded.predict_proba(batch.to_numpy())
            yield pd.DataFrame(
                {
                    "prediction": loaded.classes_[scores.argmax(axis=1)].astype(object),
                    "probability": scores.max(axis=1),
                    "probability_no": scores[:, 0],
                    "probability_yes": scores[:, 1],
                }
            )

    predict.__annotations__ = {"batches": Iterator[pd.DataFrame], "return": Iterator[pd.DataFrame]}
    function = F.pandas_udf(predict, ANSWER)
    return lambda rows: rows.select(NAMES[0], function(F.struct(*NAMES)).alias("p"))


def _plain(spark: Any, folder: str) -> Callable[[Any], Any]:
    import mlflow
    from pyspark.sql import functions as F

    predict = mlflow.pyfunc.spark_udf(spark, f"{folder}/plain", result_type=ANSWER, env_manager="local")
    return lambda rows: rows.select(NAMES[0], predict(F.struct(*NAMES)).alias("p"))


_WAYS = {
    "frame": _frame,
    "floor": _floor,
    "columns": _columns,
    "columns_floor": _columns_floor,
    "expert": _expert,
    "plain": _plain,
}


def _local(folder: str, rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """CPU of `score` on one file of the same rows, and of the engine alone."""
    from proto_model.files import score_file
    from proto_model.model import Bundle, Predictor
    from proto_model.parameters import FILE, Parameters

    parts = sorted(_table(folder, rows).iterdir())
    single = Path(folder).parent / f"single-{rows}.parquet"
    if not single.exists():
        with pq.ParquetWriter(single, pq.read_schema(parts[0]), compression="zstd") as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
    predictor = Predictor(Bundle.load(Path(folder) / "artifacts" / "bundle"), FILE)
    table = pq.read_table(parts[0])
    matrix = np.column_stack([table[name].to_numpy() for name in NAMES])

    def score() -> None:
        score_file(single, Path(folder) / "out.parquet", predictor, Parameters(passthrough=(NAMES[0],)))

    def predict() -> None:
        for start in range(0, len(matrix), BATCH_ROWS):
            predictor.predict_proba(matrix[start : start + BATCH_ROWS])

    found = {}
    for name, work, share in (("local", score, 1.0), ("engine", predict, rows / len(matrix))):
        turns = []
        for _ in range(rounds + 1):
            before, begun = time.process_time(), time.perf_counter()
            work()
            spent = {"wall": time.perf_counter() - begun, "cpu": time.process_time() - before}
            turns.append({kind: seconds * share for kind, seconds in spent.items()})
        found[name] = _lowest(turns[1:])
    return found


def _processes() -> Iterator[tuple[int, str]]:
    """Processes of this tree, with their names."""
    children: dict[int, list[int]] = {}
    names = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it has ended
            continue
        pid = int(path.parent.name)
        names[pid] = text[text.index("(") + 1 : text.rindex(")")]
        children.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
        yield pid, names[pid]


def _cpu_seconds() -> float:
    """CPU time of this process and all below it, of those that have ended, too."""
    total = 0
    for pid, _ in _processes():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS


def _peaks() -> dict[str, float]:
    """Peak memory in MiB of the largest Python worker, and of the JVM."""
    peaks = {"worker_mib": 0.0, "jvm_mib": 0.0}
    for pid, name in list(_processes())[1:]:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        peak = (
            next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0) / 1024
        )
        key = "jvm_mib" if name == "java" else "worker_mib"
        peaks[key] = max(peaks[key], peak)
    return peaks


def _figures(found: dict[str, float], rows: int) -> str:
    memory = (
        f", worker {found['worker_mib']:.0f} MiB, JVM {found['jvm_mib']:.0f} MiB"
        if "jvm_mib" in found
        else ""
    )
    micro = 1e6 / rows
    return f"{found['cpu']:.2f} s CPU ({found['cpu'] * micro:.2f} µs a row), {found['wall']:.2f} s{memory}"


def _show(results: dict[str, Any]) -> None:
    ways = results["ways"]
    print(f"{results['rows']:,} rows x {N_COLUMNS}, forest {results['forest']}")
    ours = ways.get("frame")
    for way, found in ways.items():
        compared = ""
        if ours and way != "frame":
            cpu, wall = found["cpu"] / ours["cpu"], found["wall"] / ours["wall"]
            compared = f"; CPU {cpu:.2f} x, wall {wall:.2f} x of frame"
        print(f"{way:<13} {_figures(found, results['rows'])}{compared}", flush=True)
    if "floor" in ways:
        least = 1 + ways["engine"]["cpu"] / ways["floor"]["cpu"]
        print(f"floor and engine together take {least:.2f} times the CPU of the floor")


if __name__ == "__main__":
    sys.exit(main())
