"""A table that grows, scored as it grows: each row once, also after a kill and a new start.

Spark's checkpoint notes which input belongs to a batch before the batch begins, and that it is done after its
output is. Files are output once `_spark_metadata` lists them, which happens for all of a batch in one step; a
batch that was killed before is scored again, and its old files are never listed. So readers have to follow
`_spark_metadata`: Spark does by itself, others have to read the list.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proto_model.errors import InputError, counted
from proto_model.spark.scoring.batch import (
    MakeScorer,
    TableSummary,
    TableTask,
    input_schema,
    kept_columns,
    scored_frame,
    summary,
)
from proto_model.spark.scoring.counts import NAME, Counter, Counts
from proto_model.spark.scoring.pin import Pin, read_pin, write_pin
from proto_model.spark.scoring.places import read, written
from proto_model.spark.scoring.refusals import refusals_in_words
from proto_model.spark.scoring.waiting import in_thread

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

AVAILABLE_NOW = "availableNow"

_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", re.IGNORECASE)
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}
_LOOK_S = 0.5


@dataclass(frozen=True)
class StreamTask:
    """A table to score as it grows."""

    table: TableTask
    checkpoint: str
    trigger: str = AVAILABLE_NOW
    follow: bool = False  # whether another version may go on with the checkpoint


def trigger_options(text: str) -> dict[str, Any]:
    """What Spark's `trigger` takes for availableNow, or for an interval such as 5s.

    Examples
    --------
    >>> trigger_options("5s")
    {'processingTime': '5 seconds'}
    """
    if text.lower() == AVAILABLE_NOW.lower():
        return {"availableNow": True}
    found = _INTERVAL.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"--trigger is {text!r}, availableNow or an interval such as 5s, 500ms or 1m expected."
        )
    return {"processingTime": f"{found[1]} {_UNITS[found[2].lower()]}"}


def check_stream(task: StreamTask) -> None:
    """Raise InputError if a table cannot be streamed as it was asked for."""
    trigger_options(task.trigger)
    if task.table.mode == "overwrite":
        raise InputError("A stream adds to its output. Leave out --mode overwrite.")
    if not task.checkpoint:
        raise InputError(
            "A stream needs --checkpoint, a folder of its own where it notes which rows are done."
        )


def score_stream(
    spark: SparkSession,
    make_scorer: MakeScorer,
    model_uri: str,
    task: StreamTask,
    tell: Callable[[str], None],
) -> TableSummary:
    """Score what there is, or what comes until an interruption; the summary counts this start's batches.

    `make_scorer` makes a scorer of a URI, `tell` is given a line for each batch. Raises InputError and
    SparkJobError as `score_table` does, and an InputError if the checkpoint belongs to another stream.
    """
    from pyspark.sql.types import StructType

    started = time.monotonic()
    pin = read_pin(spark, task.checkpoint)
    with refusals_in_words():
        schema = StructType.fromJson(json.loads(pin.schema)) if pin else input_schema(spark, task.table)
        scorer = make_scorer(_version(model_uri, pin, task.follow, tell), kept_columns(schema, task.table))
        frame = read(spark, task.table.input, schema, task.table.marking, stream=True)
        scored, notes = scored_frame(frame, scorer, task.table)
        now = Pin(
            model=scorer.uri,
            digest=scorer.digest,
            input=str(task.table.input),
            output=str(task.table.output),
            schema=schema.json(),
            columns=", ".join(
                f"{field.name} {field.dataType.simpleString()}" for field in scored.schema.fields
            ),
        )
        if pin is not None:
            pin.check(now, task.checkpoint, follow=task.follow)
        if now != pin:
            write_pin(spark, task.checkpoint, now)
    batches = _Batches(Counter(scorer.model, task.table.marking), tell)
    _run(spark, scored, task, batches)
    more = {"batches": batches.n_batches, "checkpoint": task.checkpoint, "trigger": task.trigger}
    return summary(task.table, scorer, batches.counts, notes, time.monotonic() - started, more)


def _version(model_uri: str, pin: Pin | None, follow: bool, tell: Callable[[str], None]) -> str:
    """The version that scores: behind an alias, what the checkpoint remembers, unless it is to follow."""
    if not model_uri.startswith("models:/") or model_uri.startswith("models:/m-"):
        return model_uri
    from proto_model.spark.served import fixed

    named_uri, version = fixed(model_uri)
    of_this_model = pin is not None and pin.model.startswith(named_uri.removesuffix(version))
    if pin is None or follow or "@" not in model_uri or not of_this_model:
        return named_uri
    if pin.model != named_uri:
        tell(
            f"{model_uri} is {named_uri} by now. This stream goes on with {pin.model}, which its checkpoint "
            "names; --follow would take the new one."
        )
    return pin.model


class _Batches:
    """The batches of this start, as Spark reports them."""

    def __init__(self, counter: Counter, tell: Callable[[str], None]) -> None:
        self.counts, self.n_batches = Counts(), 0
        self._counter, self._tell = counter, tell
        self._last = -1

    def observed(self, scored: Any) -> Any:
        """The rows, counted batch by batch."""
        return self._counter.observed(scored)

    def take(self, reports: Any) -> None:
        """Count the batches that were not yet, of reports in their order."""
        for report in reports:
            metrics = report["observedMetrics"].get(NAME)
            if report["batchId"] <= self._last or metrics is None:  # told already, or it waited for rows
                continue
            counts = self._counter.counts(metrics if isinstance(metrics, dict) else metrics.asDict())
            if not counts.n_rows:
                continue
            self._last = report["batchId"]
            self.n_batches += 1
            self.counts.add(counts)
            bad = f", {counts.n_rejected:,} without a prediction" if counts.n_rejected else ""
            self._tell(f"batch {self._last}: {counted(counts.n_rows, 'row')}{bad}")


def _run(spark: SparkSession, scored: Any, task: StreamTask, batches: _Batches) -> None:
    """Run the query until it has no more to do, or is interrupted; a batch in the midst begins anew then."""
    stop = threading.Event()

    def work() -> None:
        observed = batches.observed(scored)
        writer = written(observed.writeStream, task.table.output, task.table.partition_by).outputMode(
            "append"
        )
        writer = writer.option("checkpointLocation", task.checkpoint).trigger(**trigger_options(task.trigger))
        place = task.table.output
        query = writer.toTable(place.name) if place.is_table else writer.start(place.name)
        try:
            while not stop.is_set() and not query.awaitTermination(_LOOK_S):
                batches.take(query.recentProgress)
        finally:
            query.stop()
            batches.take(query.recentProgress)

    with refusals_in_words():
        try:
            in_thread(work, stop.set)
        except KeyboardInterrupt:
            if task.trigger.lower() == AVAILABLE_NOW.lower():
                raise
