"""Precision and coverage of rules, by the share of right rows that is the target of the rule search.

Prints the table of docs/explanations.md: over held-out rows, the median and first quartile of the precision
measured inside the rules, and the median share of the test rows that they cover.

Example: python benchmarks/explain_aims.py --adult adult.csv --rows 24
"""

from __future__ import annotations

import argparse
import sys
from unittest.mock import patch

from explain import MIN_ROWS, load, run
from threadpoolctl import threadpool_limits

from proto_model.explanation.lore import engine


def build_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "wine"], help="built-in data sets")
    parser.add_argument("--adult", metavar="PATH", help="the Adult table as CSV")
    parser.add_argument("--rows", type=int, default=MIN_ROWS, help="held-out rows per table")
    parser.add_argument(
        "--aims", type=float, nargs="+", default=[0.90, 0.95, 0.97, 0.985, 0.995], help="targets"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    named = [("adult", args.adult)] if args.adult else []
    tables = [load(dataset, name) for name, dataset in [*named, *((name, name) for name in args.tables)]]
    print(f"| target | {' | '.join(table.name for table in tables)} |")
    print("|---|" + "---|" * len(tables))
    for aim in args.aims:
        cells = []
        with patch.object(engine, "TARGET", aim), threadpool_limits(1):
            for table in tables:
                measured = run(table, args.rows, 1, ["lore"])["lore"]
                quartile = measured["precision_q1"]
                cells.append(f"{measured['precision']:.3f} ({quartile:.3f}), {measured['test_coverage']:.2f}")
        print(f"| {aim:g} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
