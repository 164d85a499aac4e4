"""The evidence that a promotion asks for, and how many rows it would take.

Two conditions, each at its own level: the challenger is better than the champion (an equal one passes in at
most 5 % of cases), and it is not worse by more than a margin (one that is passes in at most 1 %). On many
rows the first one decides, on few rows the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics.paired import Evidence


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

    "better": promote. "not better": the challenger is not ahead on these rows. "not enough rows": it is
    ahead, but chance might explain it; `needed` says how many rows would tell, None if the two models never
    differed.
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
    n_rows: NDArray[np.int64],
    first_only: NDArray[np.int64],
    second_only: NDArray[np.int64],
    rule: PromotionRule,
    *,
    min_improvement: float = 0.0,
) -> PromotionVerdict:
    """Verdict on balanced accuracy from counts of each class, as of `paired.balanced_accuracy_difference`.

    First is the champion, second the challenger. With `min_improvement`, better means better by more than
    that.
    """
    raise NotImplementedError


def rows_needed(
    n_rows: NDArray[np.int64],
    first_only: NDArray[np.int64],
    second_only: NDArray[np.int64],
    rule: PromotionRule,
    *,
    difference: float | None = None,
    power: float = 0.8,
) -> RowsNeeded | None:
    """Rows that promote a challenger better by `difference` (the observed one) with probability `power`.

    None if there is no such difference: it is zero or below.
    """
    raise NotImplementedError
