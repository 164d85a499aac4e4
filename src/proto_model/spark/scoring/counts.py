"""What a summary counts, counted by Spark while it writes: without a second look at the rows.

The counts are metrics of `DataFrame.observe`, an accumulator of Spark's. Each task sends its counts with its
result, and the driver takes those of the first attempt that succeeds, once for each task of the stage that
writes: attempts that failed, were lost, or lost a race of speculative execution do not count. That stage is
the one that scores, too, as nothing between the two moves rows. A table format that moves them before it
writes (Iceberg's and Delta's distribution of writes) makes scoring a stage of its own, of which Spark may do
a task again after an executor was lost, and count its rows again: then `rows` may be more than was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NAME = "proto_model_counts"

UNREADABLE = "a row that cannot be read"
_MOST_COLUMNS = 100  # of which reasons are counted one by one


@dataclass
class Counts:
    """Rows of a job or of a batch."""

    n_rows: int = 0
    n_rejected: int = 0
    predictions: dict[str, int] = field(default_factory=dict)  # rows by predicted class
    reasons: dict[str, int] = field(default_factory=dict)  # rejected rows by the first thing that was wrong

    def add(self, other: Counts) -> None:
        """Count another batch as well."""
        self.n_rows += other.n_rows
        self.n_rejected += other.n_rejected
        for ours, theirs in ((self.predictions, other.predictions), (self.reasons, other.reasons)):
            for name, number in theirs.items():
                ours[name] = ours.get(name, 0) + number


class Counter:
    """The expressions that count, by the name of what they count."""

    def __init__(self, schema: ModelSchema, marking: bool) -> None:
        from pyspark.sql import functions as F

        self._classes = [
            str(label).lower() if isinstance(label, bool) else str(label) for label in schema.classes
        ]
        self._expressions: list[Column] = [F.count(F.lit(1)).alias("rows")]
        for number, label in enumerate(schema.classes):
            self._expressions.append(F.count_if(F.col("prediction") == F.lit(label)).alias(f"class_{number}"))
        self._reasons: list[str] = []
        if marking:
            self._expressions.append(F.count("error").alias("rejected"))
            for reason, beginning in _beginnings(schema):
                self._expressions.append(
                    F.count_if(F.col("error").startswith(beginning)).alias(f"reason_{len(self._reasons)}")
                )
                self._reasons.append(reason)

    def observed(self, frame: DataFrame, observation: Any = NAME) -> DataFrame:
        """The frame, whose rows are counted when it is written."""
        return frame.observe(observation, *self._expressions)

    def counts(self, metrics: Mapping[str, Any]) -> Counts:
        """What Spark counted."""
        by_class = {label: int(metrics[f"class_{i}"]) for i, label in enumerate(self._classes)}
        by_reason = {name: int(metrics[f"reason_{i}"]) for i, name in enumerate(self._reasons)}
        # A missing value is one that does not fit, too: it was counted under both.
        for name in self._reasons:
            if name.endswith(_UNFIT):
                by_reason[name] -= by_reason[name.removesuffix(_UNFIT) + _MISSING]
        return Counts(
            int(metrics["rows"]),
            int(metrics.get("rejected", 0)),
            {name: number for name, number in by_class.items() if number},
            {name: number for name, number in by_reason.items() if number},
        )


_MISSING, _UNFIT = ": no value", ": a value that does not fit"


def _beginnings(schema: ModelSchema) -> Sequence[tuple[str, str]]:
    """Reasons, and how the errors begin that give them."""
    named = [feature.name for feature in schema.features[:_MOST_COLUMNS]]
    return [
        (UNREADABLE, UNREADABLE),
        *((f"{name}{_MISSING}", f"column {name!r}: no value") for name in named),
        *((f"{name}{_UNFIT}", f"column {name!r}: ") for name in named),
    ]
