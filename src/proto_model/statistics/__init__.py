"""How sure a figure is: intervals, paired differences, promotion rule, gates, repeated comparisons.

Pure functions of arrays and counts. Their coverage and error rates are measured by `benchmarks/coverage.py`
and `benchmarks/promotion.py`. Importing this package loads numpy only; SciPy comes in with the names that
need it, so that a served model can be measured without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proto_model.statistics.gates import GateVerdict, GroupMeasure, group_gate, metric_gate, no_worse_gate
    from proto_model.statistics.interval import Interval
    from proto_model.statistics.measures import (
        CLASS_METRIC_NAMES,
        LOWER_IS_BETTER,
        METRIC_NAMES,
        NEED_PROBABILITIES,
        Answers,
    )
    from proto_model.statistics.metric_intervals import group_intervals, metric_interval, metric_intervals
    from proto_model.statistics.paired import Evidence, balanced_accuracy_difference, paired_difference
    from proto_model.statistics.promotion_rule import (
        PromotionRule,
        PromotionVerdict,
        RowsNeeded,
        judge_promotion,
        rows_needed,
    )
    from proto_model.statistics.sequential import Attempts, share_of_attempt

__all__ = [
    "CLASS_METRIC_NAMES",
    "LOWER_IS_BETTER",
    "METRIC_NAMES",
    "NEED_PROBABILITIES",
    "Answers",
    "Attempts",
    "Evidence",
    "GateVerdict",
    "GroupMeasure",
    "Interval",
    "PromotionRule",
    "PromotionVerdict",
    "RowsNeeded",
    "balanced_accuracy_difference",
    "group_gate",
    "group_intervals",
    "judge_promotion",
    "metric_gate",
    "metric_interval",
    "metric_intervals",
    "no_worse_gate",
    "paired_difference",
    "rows_needed",
    "share_of_attempt",
]

_HOMES = {
    **dict.fromkeys(
        ("CLASS_METRIC_NAMES", "LOWER_IS_BETTER", "METRIC_NAMES", "NEED_PROBABILITIES", "Answers"), "measures"
    ),
    **dict.fromkeys(("Attempts", "share_of_attempt"), "sequential"),
    **dict.fromkeys(("Evidence", "balanced_accuracy_difference", "paired_difference"), "paired"),
    **dict.fromkeys(("GateVerdict", "GroupMeasure", "group_gate", "metric_gate", "no_worse_gate"), "gates"),
    **dict.fromkeys(("Interval",), "interval"),
    **dict.fromkeys(
        ("PromotionRule", "PromotionVerdict", "RowsNeeded", "judge_promotion", "rows_needed"),
        "promotion_rule",
    ),
    **dict.fromkeys(("group_intervals", "metric_interval", "metric_intervals"), "metric_intervals"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
