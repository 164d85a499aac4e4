"""How often cautions about a table are right: hits on planted leaks, false alarms where there are none.

Plants leaks of several kinds in tables (scikit-learn's, generated ones, and those given), asks each table
without them for false alarms, and measures how often the test for a shift between training and test rows
finds one where both come from the same distribution. CPU seconds are those of all cautions of a table.

Example: python benchmarks/cautions.py titanic.csv:survived compas.csv:two_year_recid
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.datasets import make_classification

from proto_model.table import BUILT_IN, RawTable, TrainingData, load_table, prepare
from proto_model.table.cautions import data_cautions
from proto_model.table.leaks import suspects
from proto_model.table.shift import shift

RESULTS = Path(__file__).parent / "results"
Table = tuple[pd.DataFrame, str]
"""A table, and the column to predict."""

Plant = Callable[[pd.Series, np.random.Generator], object]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; always 0."""
    args = build_parser().parse_args(argv)
    tables = dict(_tables(args.tables, args.generated))
    results: dict[str, object] = {"without": {}, "planted": {}}
    print(f"{'table':24} {'rows':>7} {'CPU s':>6}  cautions of the table as it is")
    for name, table in tables.items():
        data = _data(table)
        begun = time.process_time()
        found = data_cautions(data)
        seconds = time.process_time() - begun
        told = [f"{caution.kind}({','.join(caution.columns)})" for caution in found]
        results["without"][name] = {"cpu_s": seconds, "cautions": told}  # type: ignore[index]
        print(f"{name:24} {data.n_rows:7,} {seconds:6.2f}  {' '.join(told) or '-'}", flush=True)
    for kind, plant in PLANTS.items():
        hits = [_is_found(table, plant, seed) for seed, table in enumerate(tables.values())]
        results["planted"][kind] = [sum(hits), len(hits)]  # type: ignore[index]
        print(f"planted: {kind:44} found in {sum(hits)} of {len(hits)} tables", flush=True)
    for n_rows in (60, 300, 2000):
        alarms = sum(shift(_data(_generated(n_rows, 6, seed))) is not None for seed in range(args.runs))
        results[f"shift_false_alarms_{n_rows}"] = [alarms, args.runs]
        print(f"shift without one, {n_rows} rows: {alarms} alarms in {args.runs} runs", flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help="CSV or Parquet files, each as path:target")
    parser.add_argument("--generated", type=int, default=20, help="generated tables (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=300, help="runs of the test for a shift, per size")
    parser.add_argument("--json", type=Path, default=RESULTS / "cautions.json", help="file for the results")
    return parser


def _tables(given: list[str], n_generated: int) -> Iterator[tuple[str, Table]]:
    named = [(name, "target") for name in BUILT_IN]
    for name, target in [*named, *(tuple(text.rsplit(":", 1)) for text in given)]:
        frame = load_table(name).table.to_pandas()
        yield Path(name).stem, (frame.dropna(subset=[target]), target)
    sizes = np.random.default_rng(0)
    for seed in range(n_generated):
        n_rows, n_features = int(sizes.integers(100, 3000)), int(sizes.integers(4, 30))
        yield f"generated {seed}", _generated(n_rows, n_features, seed)


def _generated(n_rows: int, n_features: int, seed: int) -> Table:
    """Table whose classes several features share, some cells missing at random."""
    generator = np.random.default_rng(seed)
    n_informative = min(n_features, 3 + seed % 4)
    X, y = make_classification(
        n_rows, n_features, n_informative=n_informative, n_redundant=0, flip_y=0.05, random_state=seed,
        weights=[0.5 + 0.4 * generator.random()], class_sep=0.5 + generator.random(),
    )  # fmt: skip
    X[generator.random(X.shape) < 0.03] = np.nan
    return pd.DataFrame(X).add_prefix("x").assign(target=y), "target"


def _data(table: Table) -> TrainingData:
    frame, target = table
    return prepare(RawTable("table", "table", pa.Table.from_pandas(frame, preserve_index=False)), target)


def _is_found(table: Table, plant: Plant, seed: int) -> bool:
    frame, target = table
    planted = frame.assign(planted=plant(frame[target], np.random.default_rng(seed)))
    return "planted" in [suspect.column for suspect in suspects(_data((planted, target)))]


def _codes(y: pd.Series) -> NDArray[np.int64]:
    return pd.factorize(y, sort=True)[0]


def _noisy(share: float) -> Plant:
    def plant(y: pd.Series, generator: np.random.Generator) -> object:
        codes = _codes(y)
        other = (codes + generator.integers(1, codes.max() + 1, len(y))) % (codes.max() + 1)
        return np.where(generator.random(len(y)) < share, other, codes)

    return plant


def _known(share: float) -> Plant:
    """Filled in for a share of the rows of one class, and for 1 % of the others."""

    def plant(y: pd.Series, generator: np.random.Generator) -> object:
        filled = generator.random(len(y)) < np.where(_codes(y) == 0, share, 0.01)
        return np.where(filled, generator.integers(0, 50, len(y)), np.nan)

    return plant


PLANTS: dict[str, Plant] = {
    "copy": lambda y, _: _codes(y),
    "copy, coded as text": lambda y, _: np.array([f"level {code}" for code in _codes(y)]),
    "copy with small noise": lambda y, g: _codes(y) + g.normal(0, 0.1, len(y)),
    "copy, 1 % wrong": _noisy(0.01),
    "copy, 2 % wrong": _noisy(0.02),
    "copy, 5 % wrong": _noisy(0.05),
    "copy, 10 % wrong": _noisy(0.1),
    "filled in for 98 % of one class": _known(0.98),
    "filled in for 60 % of one class": _known(0.6),
    "filled in for 20 % of one class": _known(0.2),
}


if __name__ == "__main__":
    raise SystemExit(main())
