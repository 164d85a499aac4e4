"""The formats of a version against scikit-learn: labels that differ, bytes, and CPU time.

A forest of 200 trees on twelve numbers, with and without missing values. ONNX is also written by skl2onnx
where that is installed: `pip install skl2onnx`. Labels are counted on 20,000 rows; times are ratios of CPU
time, in turns, with one thread.

Example: python benchmarks/formats.py
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.formats import FORMATS, Source, written
from proto_model.model import Bundle, write_bundle
from proto_model.schema import Feature, ModelSchema
from proto_model.training.encoding import make_encoder
from proto_model.values import decode

N_ROWS, N_COLUMNS, ROUNDS = 20_000, 12, 5
Floats = NDArray[np.float64]


def main() -> None:
    """Run the comparison."""
    print(f"{'table':<16}{'format':<12}{'labels that differ':>20}{'p by at most':>14}{'bytes':>12}")
    for missing in (0.0, 0.1):
        source, X = _version(missing)
        name = f"{missing:.0%} missing"
        for kind in ("onnx", "pmml", "treelite", "skops"):
            content, verdict = written(FORMATS[kind], source, X)
            differ, off = f"{verdict.labels_that_differ} of {verdict.rows}", verdict.largest_difference
            print(f"{name:<16}{kind:<12}{differ:>20}{off:>14.1g}{len(content):>12,}")
        forest = source.bundle.pipeline[-1]
        if importlib.util.find_spec("skl2onnx"):
            content, labels, probabilities = _skl2onnx(forest, X)
            expected = forest.predict_proba(X)
            differ = f"{int((labels != expected.argmax(axis=1)).sum())} of {len(X)}"
            off = float(np.abs(probabilities - expected).max())
            print(f"{name:<16}{'skl2onnx':<12}{differ:>20}{off:>14.1g}{len(content):>12,}")
        _print_times(source, forest, X)


def _version(missing: float) -> tuple[Source, Floats]:
    """A version, and rows for it; numbers with two digits, so that some lie at thresholds."""
    generator = np.random.default_rng(0)
    features = tuple(
        Feature(f"x{place}", "double", True, minimum=-9.0, maximum=9.0, median=0.0)
        for place in range(N_COLUMNS)
    )
    schema = ModelSchema("m", "kind", "long", (0, 1, 2), features)
    X = generator.normal(0, 2, (N_ROWS + 4_000, N_COLUMNS)).round(2)
    score = X[:, 0] + X[:, 1] * X[:, 2] + generator.normal(0, 1, len(X))
    y = np.digitize(score, [-1, 1])
    X[generator.random(X.shape) < missing] = np.nan
    forest = RandomForestClassifier(200, random_state=0, min_samples_leaf=3)
    pipeline = Pipeline([("encode", make_encoder(schema)), ("forest", forest)])
    pipeline.fit(decode(X[N_ROWS:], schema), y[N_ROWS:])
    folder = Path(tempfile.mkdtemp(prefix="proto_model-"))
    write_bundle(folder / "bundle", pipeline, schema, X[N_ROWS:])
    return Source(Bundle.load(folder / "bundle")), X[:N_ROWS]


def _skl2onnx(forest: Any, X: Floats) -> tuple[bytes, NDArray[np.int64], Floats]:
    from skl2onnx import to_onnx

    content = to_onnx(forest, X[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    labels, probabilities = _session(content).run(None, {"X": X.astype(np.float32)})
    return content, labels, probabilities


def _session(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _print_times(source: Source, forest: Any, X: Floats) -> None:
    session = _session(FORMATS["onnx"].write(source))
    for n_rows, n_calls in ((1, 20), (1_000, 3)):
        rows = X[:n_rows]
        columns = {name: rows[:, place] for place, name in enumerate(source.schema.feature_names)}
        rivals: tuple[Callable[[], Any], ...] = (
            partial(forest.predict_proba, rows),
            partial(session.run, None, columns),
            partial(source.bundle.predict_proba, rows, 1),
        )
        pairs = [[_cpu(rival, n_calls) for rival in rivals] for _ in range(ROUNDS)]
        by_sklearn = statistics.median(sklearn / onnx for sklearn, onnx, _ in pairs)
        by_engine = statistics.median(onnx / engine for _, onnx, engine in pairs)
        print(
            f"{n_rows:,} rows: the graph is {by_sklearn:.1f} times as fast as scikit-learn, "
            f"the engine {by_engine:.0f} times as fast as the graph"
        )


def _cpu(work: Callable[[], Any], n_calls: int) -> float:
    work()
    start = time.process_time()
    for _ in range(n_calls):
        work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
