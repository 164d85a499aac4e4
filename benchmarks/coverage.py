"""Coverage of every interval that is shown of test rows, over a grid of sizes, balances and classes.

Test sets are drawn from populations whose metrics are known; a method covers well if nominal 95 % intervals
hold the true value in at least 93 % of them. Where the first sets of a cell do not show that, others are
drawn, more of them, and only these count: so the least coverage of hundreds of cells is not one of bad luck.
Prints the worst cell and the widths of each metric; after Ctrl-C, of the cells so far.

    python benchmarks/coverage.py            # minutes
    python benchmarks/coverage.py --long     # the figures in benchmarks/README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics import (
    CLASS_METRIC_NAMES,
    METRIC_NAMES,
    Answers,
    metric_interval,
    pair_counts,
    paired_difference,
    shares,
)
from proto_model.statistics.measures import LOWER_IS_BETTER, measure

_TRUTH_ROWS = 300_000
_DRAWS = 2_000  # of the product's 10,000: they move an end by a sixteenth of a standard error
_ASKED = 0.93
_SURE = 0.947  # of the first sets: a cell that covers .91 gets there in one case of fifty
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

    @property
    def noise(self) -> float:
        """Half the 95 % interval of the coverage that is due to the number of test sets."""
        return 1.96 * float(np.sqrt(self.coverage * (1 - self.coverage) / self.n_defined))


def grid(long: bool) -> Iterator[list[Cell]]:
    """Cells of one population after the other; the rarest classes first."""
    sizes: tuple[int, ...] = (30, 100, 1000)
    balances: tuple[tuple[int, float], ...] = ((2, 0.98), (10, 0.5), (2, 0.9), (5, 0.2), (2, 0.5))
    agreements: tuple[float, ...] = (0.8, 0.97)
    if long:
        sizes = (30, 100, 300, 1000, 5000)
        balances += ((10, 0.1), (3, 0.34))
        agreements += (0.9, 0.995, 1.0)
    kinds = ("calibrated", "overconfident", "forest")
    for index, (accuracy, (n_classes, largest)) in enumerate(
        (accuracy, balance) for accuracy in agreements for balance in balances
    ):
        # Its true metrics are computed once for all sizes.
        yield [Cell(n_rows, n_classes, largest, accuracy, kinds[index % 3]) for n_rows in sizes]


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


@cache
def _truths(population: Cell) -> tuple[float, dict[str, float]]:
    """Distance of the classes' scores, and each metric's value on very many rows."""
    distance = _distance(population)
    y, answers = draw(population, distance, _TRUTH_ROWS, np.random.default_rng(2))
    found = {
        key: measure(name, y, answers, population.n_classes, index) for key, name, index in _asked(population)
    }
    return distance, {key: value.value for key, value in found.items() if value is not None}


@cache
def _true_differences(population: Cell) -> dict[str, float]:
    distance = _distance(population)
    y, *models = _pair(population, distance, _TRUTH_ROWS, np.random.default_rng(2))
    truths = {}
    for key, name, index in _compared(population):
        theirs, ours = (measure(name, y, model, population.n_classes, index) for model in models)
        assert ours is not None
        assert theirs is not None
        truths[key] = (ours.value - theirs.value) * (-1 if name in LOWER_IS_BETTER else 1)
    return truths


def _compared(cell: Cell) -> list[tuple[str, str, int | None]]:
    names = [(f"difference of {name}", name, None) for name in METRIC_NAMES if name != "recall_macro"]
    last = cell.n_classes + _RARE
    return names + [(f"difference of {name}/rare", name, last) for name in ("recall", "f1", "roc_auc")]


def measured(cell: Cell, n_repeats: int, seed: int, only: Collection[str] | None = None) -> list[Result]:
    """Coverage of every metric in one cell."""
    generator = np.random.default_rng([seed, cell.n_rows, cell.n_classes])
    distance, truths = _truths(replace(cell, n_rows=0))
    asked = [of for of in _asked(cell) if of[0] in truths and (only is None or of[0] in only)]
    found: dict[str, list[tuple[bool, float]]] = {key: [] for key, _, _ in asked}
    for _ in range(n_repeats if asked else 0):
        y, answers = draw(cell, distance, cell.n_rows, generator)
        complete = len(np.unique(y)) == cell.n_classes
        for key, name, index in asked:
            # A mean over the classes that have rows is another mean where one has none.
            is_mean = index is None and name not in ("accuracy", "log_loss", "brier")
            if is_mean and not complete:
                continue
            interval = metric_interval(name, y, answers, cell.n_classes, class_index=index)
            if interval is not None:
                covers = interval.low - 1e-9 <= truths[key] <= interval.high + 1e-9
                found[key].append((covers, interval.high - interval.low))
    return _summed_up(cell, found, n_repeats)


def measured_differences(
    cell: Cell, n_repeats: int, seed: int, only: Collection[str] | None = None
) -> list[Result]:
    """Coverage of the differences of two models whose scores are correlated by .8."""
    if cell.accuracy == 1:
        return []
    generator = np.random.default_rng([seed, cell.n_rows, cell.n_classes, 1])
    (distance, _), truths = _truths(replace(cell, n_rows=0)), _true_differences(replace(cell, n_rows=0))
    asked = [of for of in _compared(cell) if only is None or of[0] in only]
    found: dict[str, list[tuple[bool, float]]] = {key: [] for key, _, _ in asked}
    for _ in range(n_repeats if asked else 0):
        y, first, second = _pair(cell, distance, cell.n_rows, generator)
        if len(np.unique(y)) < cell.n_classes:
            continue
        for key, name, index in asked:
            evidence = paired_difference(name, y, first, second, cell.n_classes, class_index=index)
            low, high = evidence.bounds(0.95)
            found[key].append((low - 1e-9 <= truths[key] <= high + 1e-9, high - low))
    return _summed_up(cell, found, n_repeats)


def results_of(
    cells: list[Cell], n_repeats: int, n_again: int, differences: bool
) -> tuple[list[Result], float]:
    """Results of a population, those in doubt from a second, larger number of sets; and CPU seconds."""
    pair_counts.N_DRAWS = shares.N_DRAWS = _DRAWS
    started, results = time.process_time(), []
    for cell in cells:
        # Large sets cost the most, and there is little in doubt about them.
        part = 2 if cell.n_rows > 1000 else 1
        for way in (measured, measured_differences) if differences else (measured,):
            first = way(cell, n_repeats // part, 1)
            doubtful = {result.metric for result in first if result.coverage < _SURE}
            results += [result for result in first if result.metric not in doubtful]
            results += way(cell, n_again // part, 2, doubtful) if doubtful else []
    return results, time.process_time() - started


def _summed_up(cell: Cell, found: dict[str, list[tuple[bool, float]]], n_repeats: int) -> list[Result]:
    """Results of the metrics that at least half of the test sets define."""
    results = []
    for metric, rows in found.items():
        if rows and len(rows) >= n_repeats / 2:
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
    answers: list[Answers] = []
    for better in (1.0, 1.03):
        own = generator.standard_normal((n_rows, cell.n_classes))
        scores = np.sqrt(0.8) * common + np.sqrt(0.2) * own
        scores[np.arange(n_rows), y] += distance * better
        logits = distance * scores + np.log(shares)
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        answers.append(Answers(probabilities.argmax(axis=1), probabilities))
    first, second = answers
    return y, first, second


def report(results: list[Result]) -> str:
    """Table: of each metric the least coverage and where, and the median width by number of rows."""
    sizes = sorted({result.cell.n_rows for result in results})
    heads = ["metric", "cells", "below .93", "surely", "least coverage"]
    heads.append("where (rows, classes, largest, accuracy, kind)")
    heads.append(f"width at {', '.join(map(str, sizes))} rows")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for metric in dict.fromkeys(result.metric for result in results):
        of_metric = [result for result in results if result.metric == metric]
        worst = min(of_metric, key=lambda result: result.coverage)
        low = sum(result.coverage < _ASKED for result in of_metric)
        surely = sum(result.coverage + result.noise < _ASKED for result in of_metric)
        widths = [
            np.median([result.width for result in of_metric if result.cell.n_rows == size] or [np.nan])
            for size in sizes
        ]
        cell = worst.cell
        where = f"{cell.n_rows}, {cell.n_classes}, {cell.largest:g}, {cell.accuracy:g}, {cell.kind}"
        shown = ", ".join(f"{width:.3f}" for width in widths)
        least = f"{worst.coverage:.3f} ± {worst.noise:.3f}"
        lines.append(f"| {metric} | {len(of_metric)} | {low} | {surely} | {least} | {where} | {shown} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the grid and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="the whole grid")
    parser.add_argument("--repeats", type=int, default=100, help="test sets per cell at first")
    parser.add_argument("--again", type=int, default=600, help="test sets of a cell in doubt")
    parser.add_argument("--metrics-only", action="store_true", help="leave out the differences")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="write all cells to this file")
    options = parser.parse_args(argv)
    seconds, results = 0.0, []
    of_cells = partial(
        results_of, n_repeats=options.repeats, n_again=options.again, differences=not options.metrics_only
    )
    pool = ProcessPoolExecutor(options.jobs)
    try:
        for done in as_completed([pool.submit(of_cells, cells) for cells in grid(options.long)]):
            found, took = done.result()
            results += found
            seconds += took
            print(f"{found[0].cell} {seconds:.0f} s", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("Stopped; these are the cells so far.")
    pool.shutdown(wait=False, cancel_futures=True)
    print(report(results))
    print(f"\n{options.repeats} test sets per cell, {options.again} in doubt, {seconds:.0f} CPU s")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
