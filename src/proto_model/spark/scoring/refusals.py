"""What Spark says when something is wrong, in a sentence: its own runs to sixty lines of Java."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from proto_model.errors import InputError, ProtoModelError

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\] ?(.*?)(?: SQLSTATE: \w+|$)", re.MULTILINE)
_OURS = re.compile(r"proto_model\.[\w.]*Error: (.+)")
_JARS = {
    "delta": "--conf spark.jars.packages=io.delta:delta-spark_2.13:VERSION "
    "--conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension "
    "--conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "iceberg": "--conf spark.jars.packages=org.apache.iceberg:iceberg-spark-runtime-SPARK_2.13:VERSION "
    "and a catalog of Iceberg's",
}
# Conditions that a caller can do something about; the others are failures of the job.
_CALLERS = (
    *("PATH_NOT_FOUND", "PATH_ALREADY_EXISTS", "DATA_SOURCE_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA"),
    *("TABLE_OR_VIEW", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND", "COLUMN_ALREADY_EXISTS", "UNRESOLVED_COLUMN"),
    *(
        "UNSUPPORTED_DATA_TYPE",
        "PARSE_SYNTAX",
        "PARSE_EMPTY",
        "INVALID",
        "MALFORMED_RECORD",
        "CONNECT_CLIENT",
    ),
    *(
        "UNSUPPORTED_SAVE_MODE",
        "AMBIGUOUS_REFERENCE",
        "FAILED_READ_FILE",
        "CANNOT_READ_FILE",
        "ALL_PARTITION",
    ),
    *("PARTITION", "UNSUPPORTED_DATASOURCE", "UNSUPPORTED_DATATYPE", "NOT_SUPPORTED", "MALFORMED_CSV"),
)


class SparkJobError(ProtoModelError):
    """A job of Spark failed for a reason that is not the caller's."""


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """Raises what Spark raises as one of our errors."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise in_words(error) from error


def in_words(error: Exception) -> ProtoModelError:
    """An InputError if the caller can do something about it, else a SparkJobError."""
    text = str(error)
    ours = _OURS.findall(text)
    if ours:  # raised by this package in a worker of Spark's
        return InputError(ours[-1].strip())
    found = [(condition, message.strip()) for condition, message in _CONDITION.findall(text)]
    known = [(condition, message) for condition, message in found if condition.startswith(_CALLERS)]
    if not known:
        message = found[-1][1] if found else next(iter(text.splitlines()), type(error).__name__)
        return SparkJobError(f"Spark's job failed: {_ended(message)} --spark-log warn shows its log.")
    condition, message = known[-1]
    if condition.startswith("DATA_SOURCE_NOT_FOUND"):
        return InputError(_without_jars(message))
    if condition.startswith(("MALFORMED_RECORD", "MALFORMED_CSV")):  # its message quotes the whole row
        return InputError(
            "A row of the input cannot be read: its number of fields is not that of the header, or it is no "
            "JSON. Correct it, or go on with --on-bad-row mark."
        )
    return InputError(f"Spark refuses this: {_ended(message)}")


def _without_jars(message: str) -> str:
    source = next((name for name in _JARS if re.search(rf"\b{name}\b", message)), "")
    if not source:
        return f"Spark refuses this: {_ended(message)}"
    return (
        f"This Spark cannot read or write {source}: its jars are not there. Start the command with those "
        f"that fit your Spark, such as {_JARS[source]}."
    )


def _ended(message: str) -> str:
    """A message cut to a readable length, with a full stop."""
    return f"{message[:400].rstrip('. ')}."
