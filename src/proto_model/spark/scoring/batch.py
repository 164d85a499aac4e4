"""A table scored once: read, scored, counted and written in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from proto_model.batches.rows import column_notes
from proto_model.errors import InputError, listed
from proto_model.spark.columns import quoted
from proto_model.spark.scoring.counts import UNREADABLE, Counter, Counts
from proto_model.spark.scoring.output import complete_or_nothing
from proto_model.spark.scoring.places import UNREAD, Place, copied_columns, read, read_schema, written
from proto_model.spark.scoring.refusals import refusals_in_words
from proto_model.spark.scoring.waiting import run_job

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from proto_model.spark import Scorer

MakeScorer = Callable[[str, Sequence[str]], "Scorer"]
"""A scorer of a URI that keeps some columns."""

Mode = Literal["error", "overwrite", "append"]
MODES: tuple[Mode, ...] = ("error", "overwrite", "append")


@dataclass(frozen=True)
class TableTask:
    """A table to score, and what to make of it."""

    input: Place
    output: Place
    passthrough: Sequence[str] = ()  # columns to copy; `*` for all
    partition_by: Sequence[str] = ()
    mode: Mode = "error"
    marking: bool = False
    schema: str = ""  # of the input, as SQL writes it; nothing: as Spark finds it


@dataclass(frozen=True)
class TableSummary:
    """What became of a table; the first names are those of `score`'s summary."""

    output: str
    rows: int
    rejected_rows: int
    input_format: str
    output_format: str
    notes: list[str]
    rejected_by_reason: dict[str, int]
    predictions: dict[str, int]
    model: str
    version: str | None
    digest: str
    seconds: float
    engine: str = "spark"
    stream: Mapping[str, Any] = field(default_factory=dict)  # of a stream: its batches and its checkpoint


def score_table(
    spark: SparkSession,
    make_scorer: MakeScorer,
    model_uri: str,
    task: TableTask,
    progress: Callable[[int, int], None] | None = None,
) -> TableSummary:
    """Score a table; the output appears when it is complete.

    Raises InputError if the input is not what the model takes, and SparkJobError if the job fails.
    """
    started = time.monotonic()
    with complete_or_nothing(spark, task.output, task.mode) as target, refusals_in_words():
        schema = input_schema(spark, task)
        scorer = make_scorer(model_uri, kept_columns(schema, task))
        scored, notes = scored_frame(read(spark, task.input, schema, task.marking), scorer, task)
        counter = Counter(scorer.model, task.marking)
        counts = _write(spark, scored, counter, replace(task, output=target), progress)
    return summary(task, scorer, counts, notes, time.monotonic() - started)


def input_schema(spark: SparkSession, task: TableTask) -> StructType:
    """Columns of the input, as they were given, or else as Spark finds them."""
    from pyspark.sql.types import StringType, StructType

    if not task.schema:
        return read_schema(spark, task.input, task.marking)
    with refusals_in_words():
        schema = StructType.fromDDL(task.schema)
    is_text = task.input.format in ("csv", "json")
    return schema.add(UNREAD, StringType()) if task.marking and is_text else schema


def kept_columns(schema: StructType, task: TableTask) -> list[str]:
    """Columns that a scorer is to keep beside its answer: no column at all would mean all of them."""
    names = [name.strip() for name in schema.names]
    copied = copied_columns(schema.names, task.passthrough, task.partition_by)
    return copied + ([UNREAD] if UNREAD in names else []) or names[:1]


def scored_frame(frame: DataFrame, scorer: Scorer, task: TableTask) -> tuple[DataFrame, list[str]]:
    """Columns to copy, then those of the answer; and notes for the caller."""
    from pyspark.sql import functions as F

    copied = copied_columns(frame.columns, task.passthrough, task.partition_by)
    ours = scorer.answer_type.names
    taken = [name for name in copied if name in ours]
    if taken:
        raise InputError(f"The output has columns named {listed(taken)} already. Rename them in the input.")
    plain = frame.toDF(*(name.strip() for name in frame.columns))
    scored = plain.transform(scorer)
    answer = {name: F.col(quoted(name)) for name in ours}
    if UNREAD in plain.columns:
        unread = F.col(UNREAD).isNotNull()
        answer = {name: F.when(~unread, value) for name, value in answer.items()}
        answer["error"] = F.when(unread, F.lit(UNREADABLE)).otherwise(F.col("error"))
    columns = [
        *(F.col(quoted(name)) for name in copied),
        *(value.alias(name) for name, value in answer.items()),
    ]
    features = scorer.model.feature_names
    absent = [name for name in features if name not in plain.columns]
    extra = [name for name in plain.columns if name not in {*features, *copied, UNREAD}]
    return scored.select(*columns), column_notes(absent, extra, "input")


def _write(
    spark: SparkSession,
    scored: DataFrame,
    counter: Counter,
    task: TableTask,
    progress: Callable[[int, int], None] | None,
) -> Counts:
    from pyspark.sql import Observation

    observation = Observation()
    writer = written(counter.observed(scored, observation).write, task.output, task.partition_by)
    writer = writer.mode(task.mode)
    save = writer.saveAsTable if task.output.is_table else writer.save
    run_job(spark, lambda: save(task.output.name), progress)
    return counter.counts(observation.get)


def summary(
    task: TableTask,
    scorer: Scorer,
    counts: Counts,
    notes: list[str],
    seconds: float,
    stream: Mapping[str, Any] | None = None,
) -> TableSummary:
    """The summary of a job that is done."""
    return TableSummary(
        output=str(task.output),
        rows=counts.n_rows,
        rejected_rows=counts.n_rejected,
        input_format=task.input.kind,
        output_format=task.output.kind,
        notes=notes,
        rejected_by_reason=counts.reasons,
        predictions=counts.predictions,
        model=scorer.uri,
        version=scorer.version,
        digest=scorer.digest,
        seconds=round(seconds, 3),
        stream=stream or {},
    )
