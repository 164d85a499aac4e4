"""How sure a figure is: intervals, paired differences, promotion rule, gates, repeated comparisons.

Pure functions of arrays and counts. Their coverage and error rates are measured by `benchmarks/coverage.py`
and `benchmarks/promotion.py`.
"""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names

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
    from proto_model.statistics.of_metrics import group_intervals, metric_interval, metric_intervals
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

__getattr__ = lazy_names(
    __name__,
    {
        "gates": ("GateVerdict", "GroupMeasure", "group_gate", "metric_gate", "no_worse_gate"),
        "interval": ("Interval",),
        "measures": (
            "Answers",
            "CLASS_METRIC_NAMES",
            "LOWER_IS_BETTER",
            "METRIC_NAMES",
            "NEED_PROBABILITIES",
        ),
        "of_metrics": ("group_intervals", "metric_interval", "metric_intervals"),
        "paired": ("Evidence", "balanced_accuracy_difference", "paired_difference"),
        "promotion_rule": (
            "PromotionRule",
            "PromotionVerdict",
            "RowsNeeded",
            "judge_promotion",
            "rows_needed",
        ),
        "sequential": ("Attempts", "share_of_attempt"),
    },
)
