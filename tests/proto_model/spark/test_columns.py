"""Spark's types against the features of `schemas/cases/values.json`; no session is needed."""

import pytest

from proto_model.schema import DATE_TYPES
from proto_model.spark.columns import answer_struct, column_faults
from tests.proto_model.carriers import SCHEMA

types = pytest.importorskip("pyspark.sql.types", reason="pyspark is not installed; `make spark` installs it")

NUMBERS = ["ByteType", "ShortType", "IntegerType", "LongType", "FloatType", "DoubleType"]
NUMBERS = [getattr(types, name)() for name in NUMBERS] + [types.DecimalType(20, 2)]
MOMENTS = [types.DateType(), types.TimestampType(), types.TimestampNTZType()]
OTHERS = [
    types.BinaryType(),
    types.ArrayType(types.LongType()),
    types.MapType(types.StringType(), types.LongType()),
    types.StructType([types.StructField("a", types.LongType())]),
    types.DayTimeIntervalType(),
    types.YearMonthIntervalType(),
]


def taken(feature, kind):
    frame = types.StructType([types.StructField(feature.name, kind)])
    faults = column_faults(frame, {feature.name: feature.name}, SCHEMA)
    assert all(
        fault.startswith(f"Column {feature.name!r}: its type is {kind.simpleString()}, ") for fault in faults
    )
    return not faults


@pytest.mark.parametrize("feature", SCHEMA.features, ids=lambda feature: feature.name)
def test_each_feature_takes_the_types_that_can_hold_its_values(feature):
    assert taken(feature, types.StringType())
    assert taken(feature, types.NullType())
    assert {taken(feature, kind) for kind in NUMBERS} == {feature.takes_numbers}
    assert taken(feature, types.BooleanType()) == (feature.type == "boolean")
    assert {taken(feature, kind) for kind in MOMENTS} == {feature.type in DATE_TYPES}
    assert not any(taken(feature, kind) for kind in OTHERS)


def test_an_answer_has_a_type_for_each_kind_of_field():
    class Field:
        def __init__(self, kind):
            self.name = self.type = kind

    fields = [Field(kind) for kind in ("double", "long", "boolean", "string", "json")]

    assert answer_struct(fields, "a_").simpleString() == (
        "struct<a_double:double,a_long:bigint,a_boolean:boolean,a_string:string,a_json:string>"
    )
