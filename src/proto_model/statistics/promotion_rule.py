"""The evidence that a promotion asks for, and how many rows it would take.

Two conditions, each at its own level: the challenger is better than the champion (an equal one passes in at
most 5 % of cases), and it is not worse by more than a margin (one that is passes in at most 1 %). On many
rows the first one decides, on few rows the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from proto_model.statistics import pair_counts
from proto_model.statistics.pair_counts import Counts
from proto_model.statistics.paired import Evidence, balanced_accuracy_difference


@dataclass(frozen=True)
class PromotionRule:
    """Levels of both conditions: the largest chances of promoting an equal model, and one worse by `margin`.

    `share` is the part of both levels that this attempt may use, of `sequential.Attempts`. A ValueError says
    which value is out of range.
    """

    equal_error: float = 0.05
    worse_error: float = 0.01
    margin: float = 0.02
    share: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("equal_error", "worse_error"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(f"{name} {getattr(self, name)} given, a number between 0 and .5 expected.")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin {self.margin} given, a number from 0 to below 1 expected.")
        if not 0 < self.share <= 1:
            raise ValueError(f"share {self.share} given, a number above 0 and up to 1 expected.")

    @property
    def p_better_asked(self) -> float:
        """Least probability of being better that promotes."""
        return 1 - self.equal_error * self.share

    @property
    def p_worse_allowed(self) -> float:
        """Largest probability of being worse by more than the margin that promotes."""
        return self.worse_error * self.share


@dataclass(frozen=True)
class RowsNeeded:
    """What a power calculation says: rows in all and beyond those at hand, for this difference.

    The new rows are assumed to be like those at hand: as many of each class, and as often predicted
    differently by the two models.
    """

    in_all: int
    more: int
    difference: float
    power: float


@dataclass(frozen=True)
class PromotionVerdict:
    """What the evidence says of a promotion.

    "better": promote. "not better": the challenger is not ahead on these rows, or not by the improvement
    asked for. "not enough rows": it is ahead, but chance might explain it; `needed` says how many rows would
    tell, None for the other verdicts.
    """

    verdict: Literal["better", "not better", "not enough rows"]
    evidence: Evidence
    p_better: float
    p_better_asked: float
    p_worse: float
    p_worse_allowed: float
    needed: RowsNeeded | None

    @property
    def promotes(self) -> bool:
        """Whether both conditions hold."""
        return self.verdict == "better"


def judge_promotion(
    n_rows: Counts,
    first_only: Counts,
    second_only: Counts,
    rule: PromotionRule,
    *,
    min_improvement: float = 0.0,
    confidence: float = 0.95,
) -> PromotionVerdict:
    """Verdict on balanced accuracy from counts of each class, as of `paired.balanced_accuracy_difference`.

    First is the champion, second the challenger. With `min_improvement`, better means better by more than
    that. `confidence` is that of the evidence's interval; it decides nothing.

    Examples
    --------
    >>> one_of_63 = np.array([40, 23]), np.array([0, 0]), np.array([0, 1])
    >>> verdict = judge_promotion(*one_of_63, PromotionRule())
    >>> verdict.verdict, verdict.needed.more > 0
    ('not enough rows', True)
    >>> judge_promotion(*(10 * part for part in one_of_63), PromotionRule()).verdict
    'better'
    """
    evidence = balanced_accuracy_difference(n_rows, first_only, second_only, confidence)
    p_better, p_worse = evidence.p_better_than(min_improvement), evidence.p_worse_than(rule.margin)
    verdict: Literal["better", "not better", "not enough rows"]
    needed = None
    if evidence.difference <= min_improvement:
        verdict = "not better"
    elif p_better >= rule.p_better_asked and p_worse <= rule.p_worse_allowed:
        verdict = "better"
    else:
        verdict = "not enough rows"
        needed = rows_needed(n_rows, first_only, second_only, rule, min_improvement=min_improvement)
    return PromotionVerdict(
        verdict, evidence, p_better, rule.p_better_asked, p_worse, rule.p_worse_allowed, needed
    )


def rows_needed(
    n_rows: Counts,
    first_only: Counts,
    second_only: Counts,
    rule: PromotionRule,
    *,
    difference: float | None = None,
    power: float = 0.8,
    min_improvement: float = 0.0,
) -> RowsNeeded | None:
    """Rows that promote a challenger better by `difference` (the observed one) with probability `power`.

    None if there is no such difference: it does not exceed `min_improvement`.
    """
    counts = pair_counts.checked(n_rows, first_only, second_only)
    total = int(counts[:, 0].sum())
    if difference is None:
        difference = float(((counts[:, 2] - counts[:, 1]) / counts[:, 0]).mean())
    if difference <= min_improvement:
        return None
    variance = pair_counts.variance_per_row(counts, difference)
    strength = float(ndtri(power))
    conditions = [
        (rule.p_better_asked, difference - min_improvement),
        (1 - rule.p_worse_allowed, difference + rule.margin),
    ]
    asked = max(variance * ((float(ndtri(level)) + strength) / gap) ** 2 for level, gap in conditions)
    in_all = max(int(np.ceil(asked)), total + 1)
    return RowsNeeded(in_all=in_all, more=in_all - total, difference=difference, power=power)
