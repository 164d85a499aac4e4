"""Spark's columns: their names, and the types of features and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from proto_model.model import AnswerField
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import type_fault
from proto_model.values import expected

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


def answer_struct(fields: Sequence[AnswerField], prefix: str = "") -> StructType:
    """Spark's type of an answer; explanations and prediction sets are JSON, as in files."""
    from pyspark.sql.types import BooleanType, DoubleType, LongType, StringType, StructField, StructType

    kinds = {
        "double": DoubleType(),
        "long": LongType(),
        "boolean": BooleanType(),
        "string": StringType(),
        "json": StringType(),
    }
    return StructType([StructField(prefix + field.name, kinds[field.type]) for field in fields])


def column_faults(frame: StructType, columns: Mapping[str, str], schema: ModelSchema) -> list[str]:
    """A sentence for each column of a frame that cannot hold its feature; `columns` has the name of each."""
    from pyspark.errors import PySparkTypeError, UnsupportedOperationException
    from pyspark.sql.pandas.types import to_arrow_type

    kinds = {field.name: field.dataType for field in frame.fields}
    faults = []
    for feature in schema.features:
        if feature.name not in columns:
            continue
        kind = kinds[columns[feature.name]]
        try:
            fault = type_fault(to_arrow_type(kind, timezone="UTC"), feature)
        except (PySparkTypeError, UnsupportedOperationException):
            fault = "Arrow has no such type"
        if fault:
            faults.append(f"Column {feature.name!r}: its type is {kind.simpleString()}, {expected(feature)}.")
    return faults


def quoted(name: str) -> str:
    """A column's name in an expression, whatever characters it has.

    Examples
    --------
    >>> quoted("net.income")
    '`net.income`'
    """
    return "`" + name.replace("`", "``") + "`"
