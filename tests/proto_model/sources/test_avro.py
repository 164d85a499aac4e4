"""Avro schemas as contracts."""

import json

import pytest

from proto_model.sources import AvroSchema, SourceError

pytest.importorskip("fastavro")

SCHEMA = {
    "type": "record",
    "name": "In",
    "fields": [
        {"name": "mean radius", "type": "double"},
        {"name": "n", "type": ["null", "long"]},
        {"name": "c", "type": {"type": "enum", "name": "E", "symbols": ["a", "b", "c", "d"]}},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
    ],
}
GOOD = {"mean radius": 1.0, "n": None, "c": "a"}


@pytest.fixture(scope="module")
def schema() -> AvroSchema:
    return AvroSchema.of(json.dumps(SCHEMA).encode(), "in.avsc")


@pytest.mark.parametrize("change", [{}, {"mean radius": 3}, {"n": 5}, {"other": "x"}, {"day": 3}])
def test_what_fits_has_no_fault(schema, change):
    assert schema.fault(GOOD | change) == ""


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([1], "the record is a list, record expected"),
        (None, "the record is null, record expected"),
        ({"n": 1, "c": "a"}, "'mean radius' is missing, double expected"),
        (GOOD | {"mean radius": "secret"}, "'mean radius' is text, double expected"),
        (GOOD | {"mean radius": True}, "'mean radius' is a boolean, double expected"),
        (GOOD | {"n": 1.5}, "'n' is a number, null or long expected"),
        (GOOD | {"n": 2**70}, "'n' is a whole number, null or long expected"),
        (GOOD | {"c": "z"}, "'c' is text, one of a, b, c, ... expected"),
    ],
)
def test_what_does_not_fit_is_told_without_its_value(schema, record, said):
    assert schema.fault(record) == said


def test_fields_have_their_types(schema):
    assert schema.fields == {"mean radius": "double", "n": "long", "c": "enum", "day": "int"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]x", b'{"type": "record"}', b'{"type": "nonsense"}', b"[" * 99999]
)
def test_what_is_no_schema_is_told(content):
    with pytest.raises(SourceError):
        AvroSchema.of(content, "in.avsc").checked()
