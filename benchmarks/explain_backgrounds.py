"""Explanations with real rows as their background beside those with synthetic rows, over several seeds.

Prints the tables of docs/explanations.md. A seed is another synthetic background; with real rows, another
sample of Adult's training rows (of the smaller tables, all rows are the background, so that one is enough).
Measures are those of `explain.py`, taken on real rows in both cases.

Example: python benchmarks/explain_backgrounds.py --adult adult.csv --rows 24 --backgrounds 5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from explain import MEASURES, MIN_ROWS, Matrix, Plan, Table, chosen_rows, load, machine, measure
from threadpoolctl import threadpool_limits

from proto_model.explanation import Explainer, make_explainer
from proto_model.explanation.background import MAX_ROWS, Background

SHOWN = [
    "cpu_ms", "precision", "precision_q1", "test_precision", "test_coverage", "sound", "fidelity",
    "has_valid", "valid", "changed", "distance", "stability", "resampled", "premises", "bytes",
]  # fmt: skip


def measured(table: Table, kind: str, n_rows: int, n_seeds: int, seed: int) -> dict[str, Any]:
    """Measures with one background."""

    def make(predict: Callable[[Matrix], Matrix], X: Matrix) -> Explainer:
        return make_explainer("lore", table.schema, X, predict, kind == "synthetic")

    part: Any = slice(None)
    if kind == "rows" and len(table.X_train) > MAX_ROWS:
        part = np.sort(np.random.default_rng(seed).choice(len(table.X_train), MAX_ROWS, replace=False))
    X_background = table.background(kind, part, seed)
    plan = Plan("fast", n_seeds, 3 if seed == 0 else 0, kind)
    return measure(table, chosen_rows(table, n_rows), make, table.predict_proba, plan, X_background)


def cell(runs: list[dict[str, Any]], key: str, better: int) -> str:
    """Median over the backgrounds, and the worst in brackets where they differ."""
    values = [run[key] for run in runs if run[key] is not None]
    if not values:
        return "-"
    middle, worst = f"{np.median(values):.3g}", f"{min(value * better for value in values) * better:.3g}"
    return middle if middle == worst else f"{middle} ({worst})"


def nearest(table: Table, rows: Matrix) -> Matrix:
    """Distance of each row to the training row that is nearest to it, and is not the same row."""
    background = Background.from_matrix(table.schema, table.X_train)
    return np.array([background.distance(row, table.X_train).min() for row in rows])


def privacy(table: Table) -> str:
    """How near drawn rows and held-out rows are to training rows."""
    drawn = table.background("synthetic")
    known = {row.tobytes() for row in table.X_train}
    same = np.mean([row.tobytes() in known for row in drawn])
    rng = np.random.default_rng(0)
    picked, held_out = (X[rng.permutation(len(X))[:400]] for X in (drawn, table.X_test))
    near, usual = nearest(table, picked), nearest(table, held_out)
    cells = [f"{np.quantile(values, share):.3g}" for share in (0.05, 0.5) for values in (near, usual)]
    return f"| {table.name} | {len(drawn):,} | {same:.1%} | {' | '.join(cells)} |"


def build_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "wine"], help="built-in data sets")
    parser.add_argument("--adult", metavar="PATH", help="the Adult table as CSV")
    parser.add_argument("--rows", type=int, default=MIN_ROWS, help="held-out rows per table")
    parser.add_argument("--seeds", type=int, default=5, help="for the stability of rules")
    parser.add_argument("--backgrounds", type=int, default=5, help="backgrounds of each kind")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    named = [("adult", args.adult)] if args.adult else []
    tables = [load(dataset, name) for name, dataset in [*named, *((name, name) for name in args.tables)]]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with threadpool_limits(1):
        for table in tables:
            for seed in range(args.backgrounds):  # in turns, so that the machine's load meets both
                for kind in ("rows", "synthetic"):
                    if kind == "synthetic" or seed == 0 or len(table.X_train) > MAX_ROWS:
                        print(f"{table.name}: {kind} {seed} ...", file=sys.stderr, flush=True)
                        runs = found.setdefault((table.name, kind), [])
                        runs.append(measured(table, kind, args.rows, args.seeds, seed))
    print(f"{machine()}; {args.rows} held-out rows per table, {args.backgrounds} backgrounds\n")
    kinds = [f"{table.name}, {kind}" for table in tables for kind in ("rows", "synthetic")]
    print(f"| median (worst) | goal | {' | '.join(kinds)} |\n|---|---|{'---|' * len(kinds)}")
    for key, title, better, asked in MEASURES:
        if key in SHOWN:
            goals = list(dict.fromkeys(f"{asked[table.name]:g}" for table in tables if table.name in asked))
            sign = "" if not goals else ("≥ " if better > 0 else "≤ ") + " / ".join(goals)
            cells = [
                cell(found[table.name, kind], key, better)
                for table in tables
                for kind in ("rows", "synthetic")
            ]
            print(f"| {title} | {sign} | {' | '.join(cells)} |")
    columns = (
        "drawn rows | equal to a training row | 5 % nearest, drawn | held out | median, drawn | held out"
    )
    print(f"\n| | {columns} |")
    print("|---|---|---|---|---|---|---|")
    for table in tables:
        print(privacy(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
