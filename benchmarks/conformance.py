"""One version, the same answers from every engine: labels that differ, and bits.

Five tables with missing values: numbers, many classes, and two made ones with categories, booleans, dates and
texts. Some models have calibrated probabilities, some heed the costs of mistakes. Each is trained as a user
trains it. The rows lie on the forest's thresholds, and one step beside them; they have missing values,
categories that training never saw, and the largest numbers that a column takes. Every engine gets them in its
own way, over HTTP as JSON or as a Parquet file. What each answers is compared with the model in process.

Examples
--------
    python benchmarks/conformance.py
    python benchmarks/conformance.py --rows 2000 --engine lean --engine files
    python benchmarks/conformance.py --mlserver /path/to/venv/bin/mlserver
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import sklearn.datasets
from numpy.typing import NDArray
from servers import Models, command, serving

from proto_model.errors import ArtifactError
from proto_model.formats import FORMATS, Source
from proto_model.formats.rows import Rows, made_rows
from proto_model.model import Bundle
from proto_model.registry.model_folder import BUNDLE

N_ROWS = 100_000
N_TRAINING = 2_000
BATCH = 2_000
DRIVER = Path(__file__).resolve().parents[1] / "tests" / "browser_engine.mjs"
ROW = "conformance_row"
LINE = "{:<16}{:<10}{:>9}{:>20}{:>18}{:>12}"
SINGLE = 2.0**-22
"""What may be missing in a probability that a format keeps as a single."""

Answers = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class Version(Models):
    """A trained version with the rows that engines are asked for, and what they have to answer."""

    name: str
    source: Source
    rows: Rows
    table: Path

    def body(self, folder: Path, n_rows: int) -> Path:
        """File with the first rows, for a server that starts."""
        path = folder / f"{self.name}-{n_rows}.json"
        path.write_bytes(self._json(0, n_rows))
        return path

    def bodies(self) -> Iterator[bytes]:
        """The rows as JSON, in batches."""
        for start in range(0, len(self.rows), BATCH):
            yield self._json(start, start + BATCH)

    def records(self) -> Iterator[list[Any]]:
        """The rows as CSV has them: a cell is empty where a value is missing."""
        columns = [
            ["" if one is None or one != one else one for one in values.tolist()]
            for _, values in self.rows.columns()
        ]
        return (list(row) for row in zip(*columns, strict=True))

    def answers(self, labels: Sequence[Any], probabilities: NDArray[np.float64]) -> Answers:
        """Answers by the position of each label."""
        positions = {str(label): place for place, label in enumerate(self.source.schema.classes)}
        return np.array([positions[str(label)] for label in labels], dtype=np.int64), probabilities

    def _json(self, start: int, end: int) -> bytes:
        part = Rows(self.rows.schema, self.rows.matrix[start:end], self.rows.unseen[start:end])
        columns = {feature.name: _json_values(feature.type, values) for feature, values in part.columns()}
        data = [list(row) for row in zip(*columns.values(), strict=True)]
        return json.dumps({"dataframe_split": {"columns": list(columns), "data": data}}).encode()


def _json_values(kind: str, values: NDArray[Any]) -> list[Any]:
    if values.dtype == object:
        return values.tolist()
    numbers = [None if number != number else number for number in values.tolist()]
    return [None if one is None else bool(one) for one in numbers] if kind == "boolean" else numbers


def main() -> None:
    """Ask every engine, and print a line for each table and engine."""
    arguments = _parser().parse_args()
    names = arguments.engine or [name for name in ENGINES if name != "mlserver" or arguments.mlserver]
    missing = {name: why for name in names if (why := _why_not(name, arguments.mlserver))}
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    wrong = 0
    print(LINE.format("table", "engine", "rows", "labels that differ", "bits that differ", "by at most"))
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        for version in versions(Path(folder), arguments.table or list(TABLES), arguments.rows):
            expected = version.source.answers(version.rows.matrix)
            for name in (name for name in names if name not in missing):
                work = Path(folder, version.name, name)
                work.mkdir()
                try:
                    found = ENGINES[name](version, work, arguments.mlserver)
                except ArtifactError as error:  # of a format that has no such columns
                    print(f"{version.name:<16}{name:<10}{error}")
                    continue
                labels, bits, largest = differences(expected, found)
                wrong += labels > 0 or (bits > 0 if name not in FORMATS else largest > SINGLE)
                n_rows = f"{len(version.rows):,}"
                print(
                    LINE.format(version.name, name, n_rows, labels, f"{bits:,}", f"{largest:.1g}"), flush=True
                )
    if wrong:
        sys.exit(f"{wrong} engines do not answer as the model does.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=N_ROWS, help=f"rows of each table (default: {N_ROWS:,})")
    parser.add_argument(
        "--table", action="append", choices=list(TABLES), help="one of the tables; may be repeated"
    )
    parser.add_argument(
        "--engine", action="append", choices=list(ENGINES), help="one engine; may be repeated"
    )
    parser.add_argument("--mlserver", type=command, help="the command of an environment with MLServer")
    return parser


def _why_not(engine: str, mlserver: Path | None) -> str:
    needed = {"spark": "pyspark", "onnx": "onnx", "treelite": "treelite"}.get(engine)
    if needed and importlib.util.find_spec(needed) is None:
        return f"{needed} is not installed."
    if engine == "browser" and shutil.which("node") is None:
        return "node is not on PATH; on Debian: apt-get install nodejs"
    return "--mlserver names its command." if engine == "mlserver" and mlserver is None else ""


def differences(expected: Answers, found: Answers) -> tuple[int, int, float]:
    """Labels that differ, probabilities of which a bit differs, and by how much at most."""
    labels, probabilities = expected
    assert found[1].shape == probabilities.shape, f"{found[1].shape} answered, {probabilities.shape} expected"
    bits = int((found[1].view(np.int64) != probabilities.view(np.int64)).sum())
    off = np.abs(found[1] - probabilities)
    return int((found[0] != labels).sum()), bits, float(np.where(np.isnan(off), 1.0, off).max(initial=0.0))


# Tables


def versions(folder: Path, names: Sequence[str], n_rows: int) -> Iterator[Version]:
    """A version of each table, trained into a store of their own."""
    for name in names:
        home = folder / name
        home.mkdir()
        table, options = TABLES[name]
        pq.write_table(table(np.random.default_rng(0)), home / "table.parquet")
        _python(
            "proto_model", "train", "--dataset", "table.parquet", "--n-candidates", "1", *options, cwd=home
        )
        yield _version(name, home, n_rows)


def _version(name: str, home: Path, n_rows: int) -> Version:
    import mlflow

    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    model = Path(
        mlflow.artifacts.download_artifacts("models:/proto_model@challenger", dst_path=str(home / "model"))
    )
    source = Source(Bundle.load(model / BUNDLE))
    rows = _rows(source, n_rows)
    columns = {feature.name: values for feature, values in rows.columns()}
    # Texts have a type where all of them are missing, too.
    table = pa.table({c: pa.array(v, pa.string() if v.dtype == object else None) for c, v in columns.items()})
    path = home / "rows.parquet"
    pq.write_table(table.append_column(ROW, pa.array(range(n_rows))), path)
    return Version(model, model, list(columns), [], 0, name, source, rows, path)


def _rows(source: Source, n_rows: int) -> Rows:
    """Made rows that every engine takes: nothing is missing where training never saw a missing value."""
    features = source.schema.features
    usual = np.array([[feature.median or 0.0 for feature in features]])
    rows = made_rows(source, made_rows(source, usual, 1_000, seed=1).matrix, n_rows)
    required = np.array([not feature.nullable for feature in features])
    matrix = np.where(np.isnan(rows.matrix) & ~rows.unseen & required, usual, rows.matrix)
    return Rows(source.schema, matrix, rows.unseen)


def _blanked(name: str) -> Callable[[np.random.Generator], pa.Table]:
    """One of scikit-learn's tables with a twentieth of its values missing."""

    def table(generator: np.random.Generator) -> pa.Table:
        data = getattr(sklearn.datasets, f"load_{name}")()
        X = np.where(generator.random(data.data.shape) < 0.05, np.nan, data.data)
        columns = {str(column): X[:, place] for place, column in enumerate(data.feature_names)}
        return pa.table(columns | {"class": [str(data.target_names[label]) for label in data.target]})

    return table


def _mixed(generator: np.random.Generator) -> pa.Table:
    """Two classes from every type of column, with values missing."""
    age = generator.integers(18, 90, N_TRAINING)
    income = generator.lognormal(10, 1, N_TRAINING).round(2)
    job = generator.choice(["nurse", "baker", "smith", "clerk", "pilot"], N_TRAINING)
    owner = generator.random(N_TRAINING) < 0.4
    since = np.datetime64("2015-01-01") + generator.integers(0, 3000, N_TRAINING)
    words = np.array([f"word{number}" for number in range(40)] + ["late"] * 4)
    note = [" ".join(generator.choice(words, 8)) for _ in range(N_TRAINING)]
    score = age / 30 + np.log(income) / 4 + owner - (job == "pilot") * 2 - np.char.count(note, "late")
    score += generator.normal(0, 0.5, N_TRAINING)
    gone = generator.random((6, N_TRAINING)) < 0.1
    return pa.table(
        {
            "age": pa.array(age, mask=gone[0]),
            "income": pa.array(income, mask=gone[1]),
            "job": pa.array(job, mask=gone[2]),
            "owner": pa.array(owner, mask=gone[3]),
            "since": pa.array(since, pa.date32(), mask=gone[4]),
            "note": pa.array(note, mask=gone[5]),
            "class": np.where(score > np.median(score), "yes", "no"),
        }
    )


def _levels(generator: np.random.Generator) -> pa.Table:
    """Five classes from numbers of every size and two columns of categories."""
    x = generator.normal(0, 1, (N_TRAINING, 6)) * 10.0 ** np.array([-30, -3, 0, 3, 12, 30])
    kind = generator.choice([f"kind {n}" for n in range(30)], N_TRAINING)
    score = x[:, 2] + x[:, 3] / 1e3 * (x[:, 4] > 0) + (kind < "kind 2") + generator.normal(0, 0.3, N_TRAINING)
    columns: dict[str, Any] = {f"x{place}": x[:, place] for place in range(6)}
    columns["kind"] = pa.array(kind, mask=generator.random(N_TRAINING) < 0.2)
    columns["side"] = generator.choice(["left", "right", ""], N_TRAINING)
    return pa.table(columns | {"class": np.digitize(score, [-1, -0.3, 0.5, 1.5])})


TABLES: dict[str, tuple[Callable[[np.random.Generator], pa.Table], tuple[str, ...]]] = {
    "breast_cancer": (_blanked("breast_cancer"), ("--costs", "malignant>benign:10")),
    "digits": (_blanked("digits"), ()),
    "wine": (_blanked("wine"), ("--calibrate", "sigmoid")),
    "mixed": (_mixed, ("--calibrate", "isotonic")),
    "levels": (_levels, ("--costs", "balanced", "--calibrate", "sigmoid")),
}
"""Where each table comes from, and how a model of it is trained."""


# Engines: each answers all rows of a version, in a folder of its own


def _server(kind: str) -> Callable[[Version, Path, Path | None], Answers]:
    def ask(version: Version, folder: Path, mlserver: Path | None) -> Answers:
        names = version.source.schema.probability_columns
        labels, probabilities = [], []
        with serving(kind, version, folder, mlserver) as server:
            for body in version.bodies():
                request = urllib.request.Request(server.url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=300) as answer:
                    for row in json.load(answer)["predictions"]:
                        labels.append(row["prediction"])
                        probabilities.append([row[name] for name in names])
        return version.answers(labels, np.array(probabilities))

    return ask


def _files(version: Version, folder: Path, _: Path | None) -> Answers:
    output = folder / "scored.parquet"
    _python(
        "proto_model",
        "score",
        "--model",
        str(version.ours),
        "--input",
        str(version.table),
        "--output",
        str(output),
    )
    return _scored(version, pq.read_table(output))


def _scored(version: Version, table: pa.Table) -> Answers:
    names = version.source.schema.probability_columns
    probabilities = np.column_stack([table[name].to_numpy() for name in names])
    return version.answers(table["prediction"].to_pylist(), probabilities)


def _spark(version: Version, folder: Path, _: Path | None) -> Answers:
    words = "-m", str(version.ours), "--input", str(version.table), "--output", str(folder / "scored")
    _python("proto_model", "spark-score", *words, "--passthrough", ROW, "--master", "local[2]")
    return _scored(version, pq.read_table(folder / "scored").sort_by(ROW))


def _package(version: Version, folder: Path, _: Path | None) -> Answers:
    home = version.ours.parent
    _python(
        "proto_model",
        "package",
        "-m",
        "models:/proto_model@challenger",
        "--out",
        str(folder / "handover"),
        cwd=home,
    )
    _python(
        "-c",
        "import sys, numpy, pyarrow.parquet as pq\n"
        "from interface import load_model\n"
        "table = pq.read_table(sys.argv[1])\n"
        f"rows = {{name: table[name].to_pylist() for name in table.column_names if name != {ROW!r}}}\n"
        "model = load_model()\n"
        "labels, probabilities = list(model.predict(rows)), model.predict_proba(rows)\n"
        "numpy.savez(sys.argv[2], labels=labels, probabilities=probabilities)\n",
        str(version.table),
        str(folder / "answers.npz"),
        PYTHONPATH=str(folder / "handover"),
    )
    with np.load(folder / "answers.npz") as found:
        return version.answers(found["labels"].tolist(), np.ascontiguousarray(found["probabilities"]))


def _browser(version: Version, folder: Path, _: Path | None) -> Answers:
    """Scores a CSV file, as the page does when one is dropped on it, with the page's engine in Node.js."""
    page, out = folder / "page", folder / "scored.csv"
    words = "-m", "models:/proto_model@challenger", "--out", str(page)
    _python("proto_model", "export", "browser", *words, cwd=version.ours.parent)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([version.columns, *version.records()])
    request = {"task": "score", "input": str(folder / "rows.csv"), "out": str(out), "options": {}}
    command = ["node", str(DRIVER), str(page / "engine.mjs"), str(page / "model.bin")]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    if "error" in (said := json.loads(done.stdout)):
        raise RuntimeError(said["error"])
    texts = pa.csv.ConvertOptions(column_types={"prediction": pa.string()})
    return _scored(version, pa.csv.read_csv(out, convert_options=texts))


def _format(name: str) -> Callable[[Version, Path, Path | None], Answers]:
    def read(version: Version, folder: Path, _: Path | None) -> Answers:
        one = FORMATS[name]
        return one.run(one.write(version.source), version.source, version.rows)

    return read


ENGINES: dict[str, Callable[[Version, Path, Path | None], Answers]] = {
    "lean": _server("lean"),
    "mlflow": _server("ours"),
    "mlserver": _server("mlserver"),
    "files": _files,
    "spark": _spark,
    "package": _package,
    "browser": _browser,
    "onnx": _format("onnx"),
    "pmml": _format("pmml"),
}


def _python(*words: str, cwd: Path | None = None, **variables: str) -> None:
    """Run a module or `-c` code of this Python, in a folder whose store MLflow uses."""
    command = [sys.executable, *(() if words[0] == "-c" else ("-m",)), *words]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db"} if cwd else {}
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | store | variables, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
