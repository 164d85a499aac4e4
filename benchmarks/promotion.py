"""How often promotion rules and gates err, and how often they see what is there.

Simulated test rows, two models with a known difference, groups with a known ratio, and a year of nights with
a challenger each, handed to the decision of a comparison. Beside it stand the rules of 0.3.0: a higher score
wins (`--rule point`), or a percentile interval above zero.

    python benchmarks/promotion.py            # a minute or two
    python benchmarks/promotion.py --long     # the figures in benchmarks/README.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from proto_model.registry.promotion.comparison import PairedCounts
from proto_model.registry.promotion.decision import Attempt, Criteria, decide
from proto_model.statistics import (
    Answers,
    PromotionRule,
    balanced_accuracy_difference,
    group_gate,
    metric_gate,
    no_worse_gate,
    rows_needed,
    share_of_attempt,
)
from proto_model.statistics import (
    gates as gate_verdicts,
)

Counts = NDArray[np.int64]
_RULE = PromotionRule()
_NIGHTS = 365


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def drawn_pairs(
    sizes: Counts, apart: float, difference: float, n_sets: int, generator: np.random.Generator
) -> tuple[Counts, Counts]:
    """Rows that only the first and only the second model has right, shape (n_sets, n_classes).

    Of each class, the models differ on the share `apart` of the rows; `difference` is that of their recalls.
    """
    shares = [(apart - difference) / 2, (apart + difference) / 2, 1 - apart]
    drawn = generator.multinomial(sizes, shares, size=(n_sets, len(sizes)))
    return drawn[..., 0], drawn[..., 1]


@cache
def _new_rule(sizes: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...], share: float) -> bool:
    n_rows, first_only, second_only = np.array(sizes), np.array(first), np.array(second)
    # No draws for what is clearly not ahead: 1 standard error is less than any level asks for.
    ahead = ((second_only - first_only) / n_rows).mean()
    error = np.sqrt(((first_only + second_only) / n_rows**2).sum()) / len(n_rows)
    if ahead <= error:
        return False
    return _decided(n_rows, first_only, second_only, Criteria(), share)


def _decided(
    n_rows: Counts, first_only: Counts, second_only: Counts, criteria: Criteria, share: float
) -> bool:
    """Whether a comparison with this part of the error ends in a promotion."""
    neither = np.zeros_like(n_rows)  # rows that both have right: no rule looks at them
    counts = PairedCounts(n_rows, neither, first_only, second_only)
    return decide(counts, criteria, Attempt(1, share, "1")).outcome == "promoted"


def new_rule(sizes: Counts, first: Counts, second: Counts, share: float = 1.0) -> bool:
    """Whether the promotion rule promotes."""
    return _new_rule(tuple(sizes.tolist()), tuple(first.tolist()), tuple(second.tolist()), share)


def point_rule(sizes: Counts, first: Counts, second: Counts) -> bool:
    """Whether the challenger's score is higher: the default of 0.3.0."""
    return _decided(sizes, first, second, Criteria(rule="point"), 1.0)


def percentile_rule(sizes: Counts, first: Counts, second: Counts) -> bool:
    """Whether the lower end of 0.3.0's interval at .95 (percentile bootstrap) is above zero."""
    shares = np.stack([first / sizes, second / sizes, 1 - (first + second) / sizes], axis=1).clip(0, 1)
    drawn = np.random.default_rng(0).multinomial(sizes, shares, size=(1_000, len(sizes)))
    differences = ((drawn[..., 1] - drawn[..., 0]) / sizes).mean(axis=1)
    return bool(np.quantile(differences, 0.025) > 0)


def promotions(n_sets: int, long: bool) -> str:
    """How often each rule promotes, by the challenger's true difference.

    By point, by an interval above zero, by evidence with all of the error, and with the part of it that the
    first of many attempts may use. Where a promotion is right, a quarter of the sets is enough.
    """
    rules: dict[str, Callable[[Counts, Counts, Counts], bool]] = {
        "point": point_rule, "interval": percentile_rule, "new": new_rule,
        "first attempt": partial(new_rule, share=share_of_attempt(1)),
    }  # fmt: skip
    sizes_of_classes = [[30, 30], [54, 6], [10] * 10, [500, 500]]
    if long:
        sizes_of_classes += [[50, 50], [90, 10], [270, 30], [2500, 2500]]
    cells = [(sizes, apart) for sizes in sizes_of_classes for apart in (0.05, 0.2)]
    lines = []
    for sizes, apart in cells:
        n_rows = np.array(sizes)
        line: list[object] = [
            sum(sizes),
            "/".join(map(str, sizes[:2])) + ("/…" if len(sizes) > 2 else ""),
            apart,
        ]
        for difference in (0.0, -0.02, 0.02, 0.05):
            generator = np.random.default_rng(int(1000 * abs(difference)) + 7)
            n_drawn = n_sets if difference <= 0 else n_sets // 4
            first, second = drawn_pairs(n_rows, apart, difference, n_drawn, generator)
            rates = [
                np.mean([rule(n_rows, b, c) for b, c in zip(first, second, strict=True)])
                for rule in rules.values()
            ]
            line.append(" ".join(f"{rate:.3f}" for rate in rates))
        lines.append(line)
    head = [
        "rows",
        "of the classes",
        "differ",
        "equal",
        "2 points worse",
        "2 points better",
        "5 points better",
    ]
    return table(head, lines)


def power_of_rows_needed(n_sets: int) -> str:
    """How often the rows that the power calculation asks for do promote (asked: .8)."""
    lines = []
    for sizes, first, second in (
        ([60, 40], [2, 1], [5, 3]),
        ([90, 10], [3, 1], [9, 2]),
        ([30, 33], [0, 0], [0, 1]),
    ):
        n_rows = np.array(sizes)
        needed = rows_needed(n_rows, np.array(first), np.array(second), _RULE)
        assert needed is not None
        grown = np.maximum(1, np.round(n_rows / n_rows.sum() * needed.in_all)).astype(np.int64)
        shares = np.stack([np.array(first) / n_rows, np.array(second) / n_rows], axis=1)
        outcomes = np.column_stack([shares, 1 - shares.sum(axis=1)])
        drawn = np.random.default_rng(4).multinomial(grown, outcomes, size=(n_sets, len(grown)))
        rate = np.mean([new_rule(grown, one[:, 0], one[:, 1]) for one in drawn])
        lines.append([sizes, f"{first} {second}", needed.in_all, f"{needed.difference:.3f}", f"{rate:.2f}"])
    return table(["rows", "only first, only second", "rows needed", "difference", "promoted then"], lines)


def gates(n_sets: int, long: bool) -> str:
    """Verdicts of gates: by point estimate (passed), and with three verdicts (passed, failed)."""
    # Small groups give the same counts again and again.
    gate_verdicts._pair_bounds = cache(gate_verdicts._pair_bounds)
    lines: list[list[object]] = []
    for n in (30, 50, 200, 1000, 5000) if long else (50, 200, 1000):
        for ratio in (1.0, 0.8, 0.75):
            lines.append(_group_line(n, ratio, _enough(n_sets, ratio == 0.8)))
    for n in (30, 100, 1000) if long else (30, 100):
        for true in (0.97, 0.95, 0.9):
            lines.append(_metric_line(n, true, 2 * n_sets))
    for n in (60, 300, 2000) if long else (60, 2000):
        for true in (0.0, -0.02, -0.04):
            lines.append(_margin_line(n, true, _enough(n_sets, true == -0.02)))
    return table(["gate", "rows", "truth", "passed by point", "passed", "failed", "not enough rows"], lines)


def _enough(n_sets: int, at_limit: bool) -> int:
    """Test sets of a cell: more where the truth is the limit, because the errors are largest there."""
    return n_sets if at_limit else n_sets // 4


def _rates(name: str, n: int, truth: float, point: Sequence[bool], verdicts: Sequence[str]) -> list[object]:
    rates = [np.mean(point), *(np.mean([v == word for v in verdicts]) for word in ("passed", "failed"))]
    return [name, n, truth, *(f"{rate:.3f}" for rate in rates), f"{1 - rates[1] - rates[2]:.3f}"]


def _group_line(n: int, ratio: float, n_sets: int) -> list[object]:
    generator = np.random.default_rng([n, int(100 * ratio)])
    groups = np.repeat(["a", "b"], n)
    point, verdicts = [], []
    for _ in range(n_sets):
        predicted = (generator.random(2 * n) < np.repeat([0.4, 0.4 * ratio], n)).astype(np.int64)
        verdict = group_gate("selection", predicted, predicted, groups, 0.8, ratio=True)
        point.append(verdict.interval.estimate >= 0.8)
        verdicts.append(verdict.verdict)
    return _rates("selection_ratio >= .8", n, ratio, point, verdicts)


def _metric_line(n: int, true: float, n_sets: int) -> list[object]:
    generator = np.random.default_rng([n, int(100 * true)])
    y = np.ones(n, dtype=np.int64)
    point, verdicts = [], []
    for _ in range(n_sets):
        answers = Answers((generator.random(n) < true).astype(np.int64))
        verdict = metric_gate("recall", y, answers, 2, 0.95, class_index=1)
        point.append(verdict.interval.estimate >= 0.95)
        verdicts.append(verdict.verdict)
    return _rates("recall[rare] >= .95", n, true, point, verdicts)


def _margin_line(n: int, true: float, n_sets: int) -> list[object]:
    sizes = np.array([n // 2, n - n // 2])
    first, second = drawn_pairs(sizes, 0.1, true, n_sets, np.random.default_rng([n, int(-100 * true)]))
    point, verdicts = [], []
    for b, c in zip(first, second, strict=True):
        evidence = balanced_accuracy_difference(sizes, b, c)
        point.append(evidence.difference >= -0.02)
        verdicts.append(no_worse_gate(evidence, 0.02, n).verdict)
    return _rates("no worse by .02", n, true, point, verdicts)


def nights(n_years: int) -> str:
    """A challenger a night against one champion on the same test rows, each compared once.

    Every challenger is as good as the champion: how many years see a promotion? Then from some night on,
    challengers are truly better by 5 points: how many nights until one is promoted, if the test rows stay?
    """
    lines = []
    for sizes in ([50, 50], [270, 30], [500, 500]):
        n_rows = np.array(sizes)
        ever = dict.fromkeys(("point", "same level", "parts"), 0)
        generator = np.random.default_rng(sum(sizes))
        for _ in range(n_years):
            firsts, seconds = _year(n_rows, 0.0, generator)
            pairs = list(zip(firsts, seconds, strict=True))
            ever["point"] += any(point_rule(n_rows, b, c) for b, c in pairs)
            ever["same level"] += any(new_rule(n_rows, b, c) for b, c in pairs)
            ever["parts"] += any(
                new_rule(n_rows, b, c, share_of_attempt(night)) for night, (b, c) in enumerate(pairs, start=1)
            )
        waits: list[object] = []
        for start in (1, 30, 180):
            found = []
            for _ in range(n_years // 4):
                pairs = list(zip(*_year(n_rows, 0.05, generator), strict=True))[:60]
                promoted = (
                    night for night, (b, c) in enumerate(pairs)
                    if new_rule(n_rows, b, c, share_of_attempt(start + night))
                )  # fmt: skip
                found.append(next(promoted, 60))
            waits.append(f"{np.mean(np.array(found) == 0):.2f}, {np.mean(np.array(found) < 60):.2f}")
        lines.append([sum(sizes), sizes, *(f"{of / n_years:.3f}" for of in ever.values()), *waits])
    head = ["rows", "of the classes", "point", "same level every night", "parts of the level"]
    head += [f"better from night {night} on: promoted at once, within 60" for night in (1, 30, 180)]
    return table(head, lines)


def _year(n_rows: Counts, difference: float, generator: np.random.Generator) -> tuple[Counts, Counts]:
    """A year of challengers on the same rows, on which the champion is right or wrong all year.

    Its true recalls are .9. A challenger is wrong on .05 of what the champion has right, and right on .45 of
    the rest (more, if it is better): as good as the champion, but better or worse on rows that luck gave it.
    """
    right = generator.binomial(n_rows, 0.9)
    first = generator.binomial(right, 0.05, size=(_NIGHTS, len(n_rows)))
    second = generator.binomial(n_rows - right, min(0.45 + 10 * difference, 1), size=(_NIGHTS, len(n_rows)))
    return first, second


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--long", action="store_true", help="more simulated test sets")
    parser.add_argument("--part", choices=["promotions", "needed", "gates", "nights"], help="one table only")
    parser.add_argument("--sets", type=int, help="test sets per cell (default: 200, 2000 with --long)")
    parser.add_argument("--years", type=int, help="years of nights (default: 40, 200 with --long)")
    options = parser.parse_args(argv)
    n_sets = options.sets or (2_000 if options.long else 200)
    n_years = options.years or (200 if options.long else 40)
    started = time.process_time()
    parts: dict[str, Callable[[], str]] = {
        "promotions": lambda: promotions(n_sets, options.long),
        "needed": lambda: power_of_rows_needed(n_sets),
        "gates": lambda: gates(n_sets, options.long),
        "nights": lambda: nights(n_years),
    }
    for name, part in parts.items():
        if options.part in (None, name):
            print(f"\n{part()}", flush=True)
    print(f"\n{n_sets} test sets per cell, {time.process_time() - started:.0f} CPU s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
