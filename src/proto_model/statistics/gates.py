"""Gates: whether a figure keeps a limit, with three verdicts.

"passed" and "failed" are each wrong in at most 5 % of cases, however few the rows are; where the rows do not
tell, the verdict is "not enough rows", and says how many would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from proto_model.statistics.interval import Interval
from proto_model.statistics.measures import Answers
from proto_model.statistics.of_metrics import metric_interval
from proto_model.statistics.paired import Evidence
from proto_model.statistics.shares import two_shares

Outcome = Literal["passed", "failed", "not enough rows"]
GroupMeasure = Literal["selection", "tpr", "fpr", "accuracy"]
"""Of what share two groups are compared: predicted as the class, or so of those that are (not) of it."""

_ERROR = 0.05
_CONFIDENCE = 1 - 2 * _ERROR
_STRENGTH = float(ndtri(0.8))


@dataclass(frozen=True)
class GateVerdict:
    """What the rows say of a limit.

    The interval is the one that decides: each of its ends is wrong in at most 5 % of cases. `rows_needed` is
    a total (of the groups in question, for a group gate), for a verdict in 80 % of cases if the estimate is
    right; None for a verdict, and where the estimate is the limit itself. `compared` names the two groups
    that decided.
    """

    verdict: Outcome
    interval: Interval
    limit: float
    at_least: bool
    n_rows: int
    rows_needed: int | None
    compared: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the verdict; an upper end without limit is None."""
        interval = {name: _finite(value) for name, value in vars(self.interval).items()}
        return vars(self) | {"interval": interval, "compared": list(self.compared or ()) or None}


def metric_gate(
    metric: str,
    y: NDArray[np.int64],
    answers: Answers,
    n_classes: int,
    limit: float,
    *,
    at_least: bool = True,
    class_index: int | None = None,
) -> GateVerdict:
    """Verdict on a metric, or on a metric of one class, as in `recall[malignant] >= .95`.

    Names are those of `paired.paired_difference`. With `at_least=False` the metric may be at most `limit`.
    A ValueError says that there is no such metric; if the rows do not define it, the verdict is "not enough
    rows" with an interval from 0 to 1.
    """
    interval = metric_interval(metric, y, answers, n_classes, class_index=class_index, confidence=_CONFIDENCE)
    n_rows = len(y)
    if interval is None:
        unknown = Interval(0.0, 0.0, 1.0, _CONFIDENCE)
        return GateVerdict("not enough rows", unknown, limit, at_least, n_rows, None)
    return _judged(interval, limit, at_least, n_rows)


def no_worse_gate(evidence: Evidence, margin: float, n_rows: int) -> GateVerdict:
    """Verdict on `no worse than the champion by more than margin`, as in `--no-worse roc_auc=.005`.

    The interval is that of the difference, and the limit is minus the margin.
    """
    low, high = evidence.bounds(_CONFIDENCE)
    return _judged(Interval(evidence.difference, low, high, _CONFIDENCE), -margin, True, n_rows)


def group_gate(
    measure: GroupMeasure,
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.str_],
    limit: float,
    *,
    ratio: bool,
    class_index: int = 1,
) -> GateVerdict:
    """Verdict on the worst pair of groups: each against the largest one.

    With `ratio`, the smaller share by the larger one has to be at least `limit`, as in
    `selection_ratio[sex] >= .8`; without, their difference is at most `limit`, as in `tpr_gap[sex] <= .1`.
    `groups` has the group of each row; `accuracy` knows no `class_index`. A ValueError says that there are
    fewer than two groups, or no such measure.

    All pairs have to pass, so that each may use the whole error; one that fails is enough, so that each uses
    its part of it (Bonferroni).

    Examples
    --------
    >>> groups = np.repeat(["a", "b"], 2000)
    >>> predicted = np.tile([1, 0], 2000)
    >>> verdict = group_gate("selection", predicted, predicted, groups, 0.8, ratio=True)
    >>> verdict.verdict, verdict.compared
    ('passed', ('a', 'b'))
    """
    counts = _group_counts(measure, y, predicted, groups, class_index)
    if len(counts) < 2:
        raise ValueError(f"A gate on groups compares two or more; there is {', '.join(counts) or 'none'}.")
    reference = max(counts, key=lambda group: counts[group][1])
    others = [group for group in counts if group != reference]
    pairs = [_pair_verdict((reference, group), counts, limit, ratio, len(others)) for group in others]
    severity = {"failed": 0, "not enough rows": 1, "passed": 2}
    worst = 1.0 if ratio else -1.0
    return min(pairs, key=lambda pair: (severity[pair.verdict], worst * pair.interval.estimate))


def _group_counts(
    measure: GroupMeasure,
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.str_],
    class_index: int,
) -> dict[str, tuple[int, int]]:
    """Of each group, the rows that count as right and all that the measure asks about."""
    if measure not in get_args(GroupMeasure):
        raise ValueError(f"No measure {measure!r}; there are {', '.join(get_args(GroupMeasure))}.")
    asked = {"tpr": y == class_index, "fpr": y != class_index}.get(measure, np.ones(len(y), dtype=np.bool_))
    hit = y == predicted if measure == "accuracy" else predicted == class_index
    names, codes = np.unique(groups, return_inverse=True)
    rows = np.bincount(codes[asked], minlength=len(names))
    hits = np.bincount(codes[asked & hit], minlength=len(names))
    return {str(name): (int(of), int(n)) for name, of, n in zip(names, hits, rows, strict=True)}


def _pair_verdict(
    pair: tuple[str, str],
    counts: dict[str, tuple[int, int]],
    limit: float,
    ratio: bool,
    n_pairs: int,
) -> GateVerdict:
    """Verdict on two groups, one of `n_pairs` pairs."""
    first, second = sorted((counts[name] for name in pair), key=lambda of: of[0] / max(of[1], 1))
    n_rows = first[1] + second[1]
    passing, failing = (
        _pair_bounds(first, second, ratio, 1 - 2 * error) for error in (_ERROR, _ERROR / n_pairs)
    )
    smaller, larger = (right / max(rows, 1) for right, rows in (first, second))
    if ratio:
        estimate, low, high = smaller / larger if larger else 1.0, passing[0], failing[1]
    else:
        estimate, low, high = larger - smaller, failing[0], passing[1]
    interval = Interval(estimate, min(low, estimate), max(high, estimate), _CONFIDENCE)
    return replace(_judged(interval, limit, ratio, n_rows), compared=pair)


def _pair_bounds(
    first: tuple[int, int], second: tuple[int, int], ratio: bool, confidence: float
) -> tuple[float, float]:
    """Ends of the smaller share by the larger one (or of their distance), whichever the smaller one is."""
    ways = [
        two_shares(one, other, ratio=ratio, confidence=confidence)
        for one, other in ((first, second), (second, first))
    ]
    if ratio:
        return min(low for low, _ in ways), min(min(high for _, high in ways), 1.0)
    # The distance is the larger of the two differences, which are each other's negatives.
    return max(0.0, *(low for low, _ in ways)), max(high for _, high in ways)


def _judged(interval: Interval, limit: float, at_least: bool, n_rows: int) -> GateVerdict:
    """Verdict of an interval on a limit."""
    low, high, estimate = interval.low, interval.high, interval.estimate
    kept, broken = (low >= limit, high < limit) if at_least else (high <= limit, low > limit)
    verdict: Outcome = "passed" if kept else "failed" if broken else "not enough rows"
    needed = None
    if verdict == "not enough rows" and n_rows > 0 and estimate != limit:
        half = estimate - low if estimate > limit else high - estimate
        z = float(ndtri((1 + interval.confidence) / 2))
        growth = ((z + _STRENGTH) / z * half / abs(estimate - limit)) ** 2
        needed = max(int(np.ceil(n_rows * growth)), n_rows + 1) if np.isfinite(growth) else None
    return GateVerdict(verdict, interval, limit, at_least, n_rows, needed)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
