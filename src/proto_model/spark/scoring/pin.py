"""What a stream's checkpoint remembers of this project: the version that scores, and the columns in and out.

Spark's checkpoint knows which rows are done, and nothing of the model. A stream that is started again would
take whatever version an alias names by then, in the middle of its output. So the first start pins the
version, in a folder of the checkpoint that Spark itself writes and reads, wherever that is.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proto_model.errors import InputError
from proto_model.spark.scoring.refusals import refusals_in_words

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FOLDER = "proto_model"
_WHAT = {"input": "--input", "output": "--output", "columns": "columns of the output"}


@dataclass(frozen=True)
class Pin:
    """What may not change while a stream goes on."""

    model: str  # URI of the very version where it is a registered one
    digest: str
    input: str
    output: str
    schema: str  # of the input, as Spark's JSON
    columns: str  # of the output, as SQL

    def check(self, other: Pin, checkpoint: str, *, follow: bool) -> None:
        """Raise InputError unless a stream that began with this may go on as another."""
        for name, what in _WHAT.items():
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise InputError(
                    f"The checkpoint {checkpoint} belongs to a stream with other {what}: {ours} there, "
                    f"{theirs} given. Start it with the same options, or with a new checkpoint and output."
                )
        if self.digest != other.digest and not follow:
            raise InputError(
                f"The checkpoint {checkpoint} belongs to {self.model}, whose digest is {self.digest[:12]}…; "
                f"that of {other.model} is {other.digest[:12]}…. Go on with it by --follow, or take a new "
                "checkpoint and a new output."
            )


def read_pin(spark: SparkSession, checkpoint: str) -> Pin | None:
    """What the checkpoint remembers; None if no stream has begun with it."""
    with refusals_in_words():
        try:
            lines = spark.read.text(_place(checkpoint)).collect()
        except Exception as error:
            if "PATH_NOT_FOUND" in str(error):
                return None
            raise
    if not lines:  # it ended while it was written: nothing has begun
        return None
    try:
        content: dict[str, Any] = json.loads(lines[0][0])
        return Pin(**content)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{_place(checkpoint)} is damaged. Take a new checkpoint and a new output."
        ) from error


def write_pin(spark: SparkSession, checkpoint: str, pin: Pin) -> None:
    """Remember it, in place of what was remembered."""
    text = json.dumps(dataclasses.asdict(pin))
    with refusals_in_words():
        spark.createDataFrame([(text,)], "value string").write.mode("overwrite").text(_place(checkpoint))


def _place(checkpoint: str) -> str:
    return f"{checkpoint.rstrip('/')}/{_FOLDER}"
