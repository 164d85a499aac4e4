"""Gates: whether a figure keeps a limit, with three verdicts.

"passed" and "failed" are each wrong in at most 5 % of cases, however few the rows are; where the rows do not
tell, the verdict is "not enough rows", and says how many would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics.interval import Interval
from proto_model.statistics.measures import Answers
from proto_model.statistics.paired import Evidence

GroupMeasure = Literal["selection", "tpr", "fpr", "accuracy"]
"""Of what share two groups are compared: predicted as the class, or so of those that are (not) of it."""


@dataclass(frozen=True)
class GateVerdict:
    """What the rows say of a limit.

    The interval is the one that decides: its confidence is 1 - 2 * error. `rows_needed` is a total (of the
    groups in question, for a group gate), for a verdict in 80 % of cases if the estimate is right; None for
    a verdict, and where the estimate is the limit itself. `compared` names the two groups that decided.
    """

    verdict: Literal["passed", "failed", "not enough rows"]
    interval: Interval
    limit: float
    at_least: bool
    n_rows: int
    rows_needed: int | None
    compared: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the verdict."""
        raise NotImplementedError


def metric_gate(
    metric: str,
    y: NDArray[np.int64],
    answers: Answers,
    n_classes: int,
    limit: float,
    *,
    at_least: bool = True,
    class_index: int | None = None,
    error: float = 0.05,
) -> GateVerdict:
    """Verdict on a metric, or on a metric of one class, as in `recall[malignant] >= .95`.

    Names are those of `paired.paired_difference`. With `at_least=False` the metric may be at most `limit`.
    A ValueError says that there is no such metric; if the rows do not define it, the verdict is "not enough
    rows" with an interval from 0 to 1.
    """
    raise NotImplementedError


def group_gate(
    measure: GroupMeasure,
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.str_],
    limit: float,
    *,
    ratio: bool,
    class_index: int = 1,
    error: float = 0.05,
) -> GateVerdict:
    """Verdict on the worst pair of groups: each against the largest one.

    With `ratio`, the smaller share by the larger one has to be at least `limit`, as in
    `selection_ratio[sex] >= .8`; without, their difference is at most `limit`, as in `tpr_gap[sex] <= .1`.
    `groups` has the group of each row; of more than two groups each comparison uses its part of `error`.
    `accuracy` knows no `class_index`. A ValueError says that there are fewer than two groups.
    """
    raise NotImplementedError


def no_worse_gate(evidence: Evidence, margin: float, n_rows: int, error: float = 0.05) -> GateVerdict:
    """Verdict on `no worse than the champion by more than margin`, as in `--no-worse roc_auc=.005`.

    The interval is that of the difference, and the limit is minus the margin.
    """
    raise NotImplementedError
