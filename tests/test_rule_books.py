"""The two rule books, which share no code, give any value the same verdict."""

import dataclasses
import json
import math
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

import mapper
import mapper.mapping.values as mapper_values
import proto_model.values as model_values
from proto_model.schema import ModelSchema

CONTENT = json.loads((Path(__file__).parents[1] / "schemas" / "cases" / "values.json").read_text())["schema"]
#: What the mapper calls each fault of the model's side.
KINDS = {
    "": 0,
    "out_of_range": 0,
    "unseen_category": 0,
    "null_value": "MISSING",
    "not_whole": "NOT_WHOLE",
    "too_large": "TOO_LARGE",
    "not_finite": "TOO_LARGE",
    "wrong_type": {
        "string": "NOT_TEXT",
        "boolean": "NOT_BOOLEAN",
        "double": "NOT_A_NUMBER",
        "long": "NOT_A_NUMBER",
        "text": "NOT_TEXT",
        "date": "NOT_A_DATE",
        "datetime": "NOT_A_DATE",
    },
    "not_a_day": "NOT_A_DAY",
}


def rules():
    """Rules of both sides for each feature of the cases, where it may be missing and where it may not."""
    features = [
        {**feature, "name": f"{feature['name']} {nullable}", "nullable": nullable}
        for feature in CONTENT["features"]
        for nullable in (True, False)
    ]
    content = {**CONTENT, "features": features}
    fields = mapper_values.compile_fields(mapper.ModelSchema.from_dict(content))
    return list(zip(ModelSchema.from_dict(content).features, fields, strict=True))


RULES = rules()
WORDS = sorted(
    {
        *mapper_values.MISSING_MARKERS,
        "true",
        "TRUE",
        "False",
        "tRUE",
        "inf",
        "-Infinity",
        "1_000",
        "0x10",
        "٣",
    }
    | {text for feature in CONTENT["features"] for text in feature.get("categories") or ()}
)
SPACE = st.text(st.sampled_from(mapper_values.SPACES + "\u200b\x1f"), max_size=2)
SPELT = st.from_regex(r"[+-]?[0-9]{0,40}\.?[0-9]{0,3}([eE][+-]?[0-9]{1,3})?", fullmatch=True)
DATES = st.from_regex(
    r"[012][0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,3})?)?"
    r" ?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?",
    fullmatch=True,
)
TEXTS = st.builds(
    "".join, st.tuples(SPACE, st.one_of(st.sampled_from(WORDS), SPELT, DATES, st.text()), SPACE)
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)
)


def model_verdict(feature, value):
    """Code that a forest gets, None for a missing or unseen value; and the fault's name."""
    code, fault = model_values.Rule(feature).read(value)
    return (None if fault or math.isnan(code) else code), (model_values.Fault(fault).name if fault else 0)


def mapper_verdict(feature, field, value):
    """The same of what the mapper makes of a value."""
    found = mapper_values.Verdict(value) if field.accepts(value) else field.read(value)
    fault = KINDS[found.kind]
    fault = fault[feature.type] if isinstance(fault, dict) else fault
    assert found.is_fault == bool(fault) or not found.kind
    if fault or found.value is None or found.kind == "unseen_category":
        return None, fault
    if feature.takes_numbers:
        return float(found.value), fault
    if feature.categories:
        return float(feature.categories.index(found.value)), fault
    # What the model makes of a date or a text that the mapper lets through.
    return model_values.Rule(feature).read(found.value)[0], fault


@settings(max_examples=500)
@given(st.sampled_from(RULES), VALUES)
@example(RULES[0], 10**400)
@example(RULES[0], "9" * 5000)
def test_both_sides_give_a_value_the_same_verdict(rule, value):
    feature, field = rule

    assert mapper_verdict(feature, field, value) == model_verdict(feature, value)


@given(st.sampled_from(RULES), VALUES)
def test_what_the_mapper_sends_is_read_as_what_the_client_gave(rule, value):
    feature, field = rule
    found = mapper_values.Verdict(value) if field.accepts(value) else field.read(value)

    if not (found.kind and found.is_fault):
        optional = dataclasses.replace(feature, nullable=True)
        assert model_verdict(optional, found.value) == model_verdict(optional, value)


def test_both_sides_have_the_same_constants():
    for name in ("SPACES", "MISSING_MARKERS", "LARGEST"):
        assert getattr(mapper_values, name) == getattr(model_values, name)
