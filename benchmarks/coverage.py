"""Coverage of every interval that is shown of test rows, over a grid of sizes, balances and classes.

Test sets are drawn from populations whose metrics are known; a method covers well if nominal 95 % intervals
hold the true value in at least 93 % of them. Prints the worst cell and the widths of each metric; after
Ctrl-C, of the cells so far.

    python benchmarks/coverage.py            # minutes
    python benchmarks/coverage.py --long     # the figures in benchmarks/README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics import (
    CLASS_METRIC_NAMES,
    METRIC_NAMES,
    Answers,
    metric_interval,
    paired_difference,
)
from proto_model.statistics.measures import measure

_TRUTH_ROWS = 100_000
_RARE = -1  # the last class is the rare one, and the one whose class metrics are looked at


@dataclass(frozen=True)
class Cell:
    """A population, and the number of rows drawn from it."""

    n_rows: int
    n_classes: int
    largest: float
    accuracy: float
    kind: str  # calibrated, overconfident or forest (probabilities in steps of 1/20, often 0 or 1)


@dataclass(frozen=True)
class Result:
    """How often the intervals of a cell held the truth, and how wide they were."""

    cell: Cell
    metric: str
    coverage: float
    width: float
    n_defined: int


def grid(long: bool) -> Iterator[Cell]:
    """Cells; the long grid has every combination that leaves a rare class some rows."""
    sizes: tuple[int, ...] = (30, 100, 1000)
    balances: tuple[tuple[int, float], ...] = ((2, 0.5), (2, 0.9), (2, 0.98), (5, 0.2), (10, 0.5))
    agreements: tuple[float, ...] = (0.8, 0.97)
    if long:
        sizes = (30, 60, 120, 300, 1000, 5000)
        balances += ((2, 0.8), (3, 0.34), (10, 0.1))
        agreements += (0.9, 0.995, 1.0)
    kinds = ("calibrated", "overconfident", "forest")
    for index, (n_rows, (n_classes, largest), accuracy) in enumerate(
        (n, balance, agreement) for n in sizes for balance in balances for agreement in agreements
    ):
        yield Cell(n_rows, n_classes, largest, accuracy, kinds[index % 3])


def _shares(cell: Cell) -> NDArray[np.float64]:
    shares = np.full(cell.n_classes, (1 - cell.largest) / (cell.n_classes - 1))
    shares[0] = cell.largest
    return shares


def _distance(cell: Cell) -> float:
    """Distance of the classes' scores at which the most probable class is right as often as asked."""
    if cell.accuracy == 1:
        return 30.0
    # The same population for all distances, so that the search is monotone.
    low, high = 0.0, 12.0
    for _ in range(12):
        middle = (low + high) / 2
        y, answers = draw(cell, middle, 10_000, np.random.default_rng(1))
        if (answers.predicted == y).mean() < cell.accuracy:
            low = middle
        else:
            high = middle
    return high


def draw(
    cell: Cell, distance: float, n_rows: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Answers]:
    """Rows of the population: their classes, and a model's answers."""
    shares = _shares(cell)
    y = generator.choice(cell.n_classes, size=n_rows, p=shares)
    # Each class's log likelihood, up to a constant, for unit normal noise around its corner.
    scores = generator.standard_normal((n_rows, cell.n_classes))
    scores[np.arange(n_rows), y] += distance
    logits = distance * scores + np.log(shares)
    logits *= 2.0 if cell.kind == "overconfident" else 1.0
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if cell.kind == "forest":
        probabilities = np.round(probabilities * 20) / 20
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return y, Answers(probabilities.argmax(axis=1), probabilities)


def _asked(cell: Cell) -> list[tuple[str, str, int | None]]:
    last = cell.n_classes + _RARE
    return [(name, name, None) for name in METRIC_NAMES if name != "recall_macro"] + [
        (f"{name}/rare", name, last) for name in CLASS_METRIC_NAMES
    ]


def measured(cell: Cell, n_repeats: int, seed: int) -> list[Result]:
    """Coverage of every metric in one cell."""
    distance, generator = _distance(cell), np.random.default_rng([seed, cell.n_rows, cell.n_classes])
    population = draw(cell, distance, _TRUTH_ROWS, np.random.default_rng(2))
    truths = {key: measure(name, *population, cell.n_classes, index) for key, name, index in _asked(cell)}
    found: dict[str, list[tuple[bool, float]]] = {key: [] for key in truths}
    for _ in range(n_repeats):
        y, answers = draw(cell, distance, cell.n_rows, generator)
        complete = len(np.unique(y)) == cell.n_classes
        for key, name, index in _asked(cell):
            truth = truths[key]
            # A mean over the classes that have rows is another mean where one has none.
            is_mean = index is None and name not in ("accuracy", "log_loss", "brier")
            if truth is None or (is_mean and not complete):
                continue
            interval = metric_interval(name, y, answers, cell.n_classes, class_index=index)
            if interval is not None:
                covers = interval.low - 1e-9 <= truth.value <= interval.high + 1e-9
                found[key].append((covers, interval.high - interval.low))
    return _summed_up(cell, found, n_repeats)


def measured_differences(cell: Cell, n_repeats: int, seed: int) -> list[Result]:
    """Coverage of the differences of two models whose scores are correlated by .8."""
    distance, generator = _distance(cell), np.random.default_rng([seed, cell.n_rows, cell.n_classes, 1])
    names = ("balanced_accuracy", "f1_macro", "roc_auc", "log_loss", "brier")
    population = _pair(cell, distance, _TRUTH_ROWS, np.random.default_rng(2))
    truths = {}
    for name in names:
        theirs, ours = (measure(name, population[0], model, cell.n_classes) for model in population[1:])
        assert ours is not None
        assert theirs is not None
        truths[name] = (ours.value - theirs.value) * (-1 if name in ("log_loss", "brier") else 1)
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in names}
    for _ in range(n_repeats):
        y, first, second = _pair(cell, distance, cell.n_rows, generator)
        if len(np.unique(y)) < cell.n_classes:
            continue
        for name in names:
            low, high = paired_difference(name, y, first, second, cell.n_classes).bounds(0.95)
            found[name].append((low - 1e-9 <= truths[name] <= high + 1e-9, high - low))
    return _summed_up(cell, {f"difference of {name}": rows for name, rows in found.items()}, n_repeats)


def _summed_up(cell: Cell, found: dict[str, list[tuple[bool, float]]], n_repeats: int) -> list[Result]:
    """Results of the metrics that at least half of the test sets define."""
    results = []
    for metric, rows in found.items():
        if len(rows) >= n_repeats / 2:
            coverage, width = np.mean(np.array(rows, dtype=np.float64), axis=0)
            results.append(Result(cell, metric, float(coverage), float(width), len(rows)))
    return results


def _pair(
    cell: Cell, distance: float, n_rows: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Answers, Answers]:
    """Rows and two models that look at them through partly different noise; the second sees a bit better."""
    shares = _shares(cell)
    y = generator.choice(cell.n_classes, size=n_rows, p=shares)
    common = generator.standard_normal((n_rows, cell.n_classes))
    answers = []
    for better in (1.0, 1.03):
        own = generator.standard_normal((n_rows, cell.n_classes))
        scores = np.sqrt(0.8) * common + np.sqrt(0.2) * own
        scores[np.arange(n_rows), y] += distance * better
        logits = distance * scores + np.log(shares)
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        answers.append(Answers(probabilities.argmax(axis=1), probabilities))
    return y, *answers


def report(results: list[Result]) -> str:
    """Table: of each metric the least coverage and where, and the median width by number of rows."""
    sizes = sorted({result.cell.n_rows for result in results})
    heads = ["metric", "cells", "below .93", "least coverage"]
    heads.append("where (rows, classes, largest, accuracy, kind)")
    heads.append(f"width at {', '.join(map(str, sizes))} rows")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for metric in dict.fromkeys(result.metric for result in results):
        of_metric = [result for result in results if result.metric == metric]
        worst = min(of_metric, key=lambda result: result.coverage)
        low = sum(result.coverage < 0.93 for result in of_metric)
        widths = [
            np.median([result.width for result in of_metric if result.cell.n_rows == size] or [np.nan])
            for size in sizes
        ]
        cell = worst.cell
        where = f"{cell.n_rows}, {cell.n_classes}, {cell.largest:g}, {cell.accuracy:g}, {cell.kind}"
        shown = ", ".join(f"{width:.3f}" for width in widths)
        lines.append(f"| {metric} | {len(of_metric)} | {low} | {worst.coverage:.3f} | {where} | {shown} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the grid and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="the whole grid")
    parser.add_argument("--repeats", type=int, help="test sets per cell (default: 100, 400 with --long)")
    parser.add_argument("--metrics-only", action="store_true", help="leave out the differences")
    parser.add_argument("--json", type=Path, help="write all cells to this file")
    options = parser.parse_args(argv)
    n_repeats = options.repeats or (400 if options.long else 100)
    started, results = time.process_time(), []
    try:
        for cell in grid(options.long):
            results += measured(cell, n_repeats, 1)
            if not options.metrics_only and cell.accuracy < 1:
                results += measured_differences(cell, n_repeats, 1)
            print(f"{cell} {time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("Stopped; these are the cells so far.")
    print(report(results))
    print(f"\n{n_repeats} test sets per cell, {time.process_time() - started:.0f} CPU s")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
