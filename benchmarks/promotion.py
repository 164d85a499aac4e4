"""How often the whole decision of a comparison promotes equal, worse and better models, night after night.

Test rows of two classes and two models with a known difference are simulated and handed to
`registry.promotion.decision.decide`, as a comparison does. A night is a new challenger on new test rows.
Attempts are counted as on a registered model, so the first one may use 38 % of the error.
`promotion_rules.py` measures the statistics underneath.

    python benchmarks/promotion.py            # a few minutes
    python benchmarks/promotion.py --tables 200 --years 2    # the figures in benchmarks/README.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto_model.registry.promotion.comparison import PairedCounts
from proto_model.registry.promotion.decision import Attempt, Criteria, attempt_of, decide
from proto_model.statistics import Attempts

ACCURACY = 0.85
SIZES = (63, 500, 4_000)
GAPS = (0.0, -0.02, 0.02, 0.05)
AGREEMENTS = (0.86, 0.94)
FIRST = attempt_of(Attempts("1"), "the first", Criteria())


def tables(
    generator: np.random.Generator, n_rows: int, gap: float, agreement: float, n_tables: int
) -> list[PairedCounts]:
    """Counts of two classes; the challenger is better by `gap`, and both mostly agree."""
    apart = max(1 - agreement, abs(gap))
    cells = [ACCURACY - apart / 2, (apart - gap) / 2, (apart + gap) / 2]
    sizes = np.array([n_rows - n_rows // 2, n_rows // 2])
    drawn: NDArray[np.int64] = np.stack(
        [generator.multinomial(size, [*cells, 1 - sum(cells)], size=n_tables) for size in sizes], axis=1
    )
    return [PairedCounts(sizes, part[:, 0], part[:, 1], part[:, 2]) for part in drawn]


def promoted(counts: PairedCounts, criteria: Criteria, attempt: Attempt = FIRST) -> bool:
    """Whether the decision is a promotion."""
    return decide(counts, criteria, attempt).outcome == "promoted"


def year(generator: np.random.Generator, n_nights: int, criteria: Criteria) -> bool:
    """Whether any of a year's equal challengers is promoted."""
    attempts = Attempts("1")
    for night, counts in enumerate(tables(generator, 500, 0.0, 0.94, n_nights)):
        identity = f"night {night}"
        if promoted(counts, criteria, attempt_of(attempts, identity, criteria)):
            return True
        attempts = attempts.record(identity)
    return False


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=100, help="simulated tables per cell")
    parser.add_argument("--years", type=int, default=5, help="simulated years of 365 nights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/promotion.json"))
    given = parser.parse_args()
    generator = np.random.default_rng(given.seed)
    shares: dict[str, float] = {}
    print(
        "| test rows | agreement | rule | equal | 2 points worse | 2 better | 5 better |\n" + "|---" * 7 + "|"
    )
    for n_rows in SIZES:
        for agreement in AGREEMENTS:
            cases = {gap: tables(generator, n_rows, gap, agreement, given.tables) for gap in GAPS}
            for rule in ("point", "evidence"):
                criteria = Criteria(rule=rule)  # type: ignore[arg-type]  # a literal of the loop above
                cells = []
                for gap, drawn in cases.items():
                    share = float(np.mean([promoted(counts, criteria) for counts in drawn]))
                    shares[f"{rule}, {n_rows} rows, agreement {agreement}, gap {gap}"] = share
                    cells.append(f"{share:.3f}")
                print(f"| {n_rows} | {agreement} | {rule} | {' | '.join(cells)} |", flush=True)
    for name, criteria in {"on": Criteria(), "off": Criteria(sequential=False)}.items():
        share = float(np.mean([year(generator, 365, criteria) for _ in range(given.years)]))
        shares[f"a year of equal challengers, sequential {name}"] = share
        print(f"A year of equal challengers, --sequential {name}: promoted in {share:.3f} of years")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(shares, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
