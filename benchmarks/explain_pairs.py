"""CPU seconds of explanations beside an older version: both in turns, on the same rows of the same tables.

Prints the median over rows, in milliseconds of CPU, per table and pair, and the ratio (now : older). The
older version is checked out for the time of the benchmark. Tables come from each version's own `explain.py`:
forests of 100 trees, training rows as the background. Ratios below 1 are faster than before.

Example: python benchmarks/explain_pairs.py --adult adult.csv --rows 24 --pairs 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASELINE = "b526342"  # the last commit before counterfactuals had directions and sensitive features


def build_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "wine"], help="built-in data sets")
    parser.add_argument("--adult", metavar="PATH", help="the Adult table as CSV")
    parser.add_argument("--rows", type=int, default=24, help="held-out rows per table")
    parser.add_argument("--pairs", type=int, default=3, help="how often both versions run")
    parser.add_argument("--baseline", default=BASELINE, metavar="REF", help="git's name of the older version")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser


def measured(adult: str | None, tables: list[str], n_rows: int) -> dict[str, float]:
    """Median CPU milliseconds per row of the version on Python's path."""
    from explain import chosen_rows, load
    from threadpoolctl import threadpool_limits

    from proto_model.explanation import make_explainer
    from proto_model.parameters import Parameters

    found = {}
    named = [("adult", str(adult))] if adult else []
    with threadpool_limits(1):
        for name, dataset in [*named, *((name, name) for name in tables)]:
            table = load(dataset, name)
            explainer = make_explainer("lore", table.schema, table.X_train, table.predict_proba)
            rows, spent = chosen_rows(table, n_rows), []
            explainer.explain(rows[:1], Parameters())
            for i in range(len(rows)):
                started = time.process_time()
                explainer.explain(rows[i : i + 1], Parameters())
                spent.append(1000 * (time.process_time() - started))
            found[name] = statistics.median(spent)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    if args.measure:
        print(json.dumps(measured(args.adult, args.tables, args.rows)))
        return 0
    adult = ["--adult", str(Path(args.adult).resolve())] if args.adult else []
    command = ["--measure", *adult, "--rows", str(args.rows), "--tables", *args.tables]
    git = ["git", "-C", str(ROOT), "worktree"]
    print("| pair | table | older | now | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="explain_pairs_") as folder:
        older = Path(folder, "older")
        subprocess.run([*git, "add", "--quiet", "--detach", str(older), args.baseline], check=True)
        try:
            for pair in range(1, args.pairs + 1):
                then, now = (_run(root, command) for root in (older, ROOT))
                for table, spent in now.items():
                    ratio = spent / then[table]
                    print(f"| {pair} | {table} | {then[table]:.1f} | {spent:.1f} | {ratio:.2f} |", flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(older)], check=True)
    return 0


def _run(root: Path, command: list[str]) -> dict[str, float]:
    """Measures of the version below a folder, in a process of its own on one core."""
    # With -P, this file's folder is not on the path, so that the version's own explain.py is imported.
    path = os.pathsep.join([str(root / "src"), str(root / "benchmarks")])
    done = subprocess.run(
        [sys.executable, "-P", __file__, *command],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{root}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
