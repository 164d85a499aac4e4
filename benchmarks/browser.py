"""What a page of a version costs, and whether it answers as the servers do.

    python benchmarks/browser.py --rows 20000 --chromium

Trains 200 trees on breast_cancer (30 columns), writes its model.bin, and runs the same rows through the
engine of the page in Node.js and through that of the servers with one thread, in turns. Times are CPU time a
row; with `--chromium` also the time on the clock in Debian's chromium. `--explained 200` compares as many
explanations.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer

from proto_model.deployment.browser.model import model_bytes
from proto_model.deployment.browser.pages import engine_text, index_text
from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.table import RawTable, encode, prepare
from proto_model.training import make_pipeline

DRIVER = Path(__file__).resolve().parents[1] / "tests" / "browser_engine.mjs"
_IN_CHROMIUM = """
const [engine, model, rows, rounds, done] = arguments;
const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
import(URL.createObjectURL(new Blob([engine], { type: "text/javascript" }))).then(({ openModel }) => {
  const opened = openModel(bytes(model));
  const X = new Float64Array(bytes(rows).buffer);
  const n = X.length / opened.width;
  done(Array.from({ length: rounds }, () => {
    const begin = performance.now();
    opened.probabilities(X, n);
    return (1000 * (performance.now() - begin)) / n;
  }));
});
"""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; give 0, or 1 if an answer differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--explained", type=int, default=20, help="explanations to compare (default: 20)")
    parser.add_argument("--chromium", action="store_true", help="measure in Debian's chromium, too")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        folder = Path(temporary)
        bundle = trained(folder / "bundle", arguments.trees)
        model = model_bytes(bundle, {"title": "breast_cancer"})
        (folder / "model.bin").write_bytes(model)
        (folder / "engine.mjs").write_text(engine_text(), encoding="utf-8")
        code = index_text(b"", "", "breast_cancer").encode()
        print(f"page and code {len(gzip.compress(code, 9)):,} bytes compressed, {len(code):,} as they are")
        print(f"model {len(gzip.compress(model, 9)):,} bytes compressed, {len(model):,} as it is")
        X = rows_of(bundle, arguments.rows)
        n_off = compared(bundle, folder, X, arguments.rounds)
        n_off += explained(bundle, folder, X[: arguments.explained])
        if arguments.chromium:
            in_chromium(folder, X, arguments.rounds)
    return int(n_off > 0)


def trained(folder: Path, n_trees: int) -> Bundle:
    """Forest of so many trees."""
    frame = load_breast_cancer(as_frame=True).frame
    data = prepare(
        RawTable("table", "table.parquet", pa.Table.from_pandas(frame, preserve_index=False)), "target"
    )
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=n_trees)
    pipeline.fit(data.X_train, data.y_train)
    write_bundle(folder, pipeline, data.schema, encode(data.X_train, data.schema))
    return Bundle.load(folder)


def rows_of(bundle: Bundle, n_rows: int) -> np.ndarray:
    """Rows of the background with noise, a tenth of the values missing."""
    rng = np.random.default_rng(0)
    rows = bundle.background[rng.integers(0, len(bundle.background), n_rows)]
    rows = rows * rng.normal(1, 0.1, rows.shape)
    return np.where(rng.random(rows.shape) < 0.1, np.nan, rows)


def ask(folder: Path, **request: Any) -> Any:
    """Result of a task of the engine in Node.js."""
    done = subprocess.run(
        ["node", DRIVER, folder / "engine.mjs", folder / "model.bin"],
        input=json.dumps(request), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)["result"]


def compared(bundle: Bundle, folder: Path, X: np.ndarray, rounds: int) -> int:
    """Times of both engines in turns, and how many probabilities differ."""
    X.tofile(folder / "X")
    pairs = []
    for _ in range(rounds):
        begin = time.process_time()
        wanted = bundle.predict_proba(X, 1)
        own = (time.process_time() - begin) * 1e6 / len(X)
        # The first round of a process compiles.
        _, browsers = ask(folder, task="predict", X=str(folder / "X"), out=str(folder / "p"), rounds=2)[
            "microseconds"
        ]
        pairs.append((browsers, own))
    found = np.fromfile(folder / "p").reshape(wanted.shape)
    n_off = int((found.view(np.uint64) != wanted.view(np.uint64)).sum())
    browsers, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"Node.js {browsers:.1f} us of CPU a row, servers' engine {own:.2f}, {ratio:.0f} times")
    print(f"{n_off} of {wanted.size:,} probabilities differ in a bit")
    return n_off


def explained(bundle: Bundle, folder: Path, X: np.ndarray) -> int:
    """How many explanations differ in a word or a number."""
    if not len(X):
        return 0
    predictor = Predictor(bundle)
    wanted = predictor.explain(X, predictor.parameters({"explain": True}))
    rows = [[None if value != value else value for value in row] for row in X.tolist()]
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = ask(folder, task="explain", asked=[{"row": row, "parameters": {}} for row in rows])
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    plain = json.loads(json.dumps(wanted))
    n_off = sum(one != other for one, other in zip(found, plain, strict=True))
    each = 1000 * took / len(X)
    print(f"{n_off} of {len(X)} explanations differ; {each:.0f} ms of CPU each in Node.js")
    return n_off


def in_chromium(folder: Path, X: np.ndarray, rounds: int) -> None:
    """Time a row in a real browser."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(600)
        engine = (folder / "engine.mjs").read_text(encoding="utf-8")
        files = [base64.b64encode((folder / name).read_bytes()).decode() for name in ("model.bin", "X")]
        times = driver.execute_async_script(_IN_CHROMIUM, engine, *files, rounds + 1)
    finally:
        driver.quit()
    best, middle = min(times[1:]), statistics.median(times[1:])
    print(f"Chromium {best:.1f} us a row on the clock at best, {middle:.1f} in the middle")


if __name__ == "__main__":
    sys.exit(main())
