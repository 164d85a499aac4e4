"""JSON in tags, which everybody may write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.registry.tag_values import of_tag_value, to_tag_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_again(value):
    assert of_tag_value(to_tag_value([value]), list) == [value]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"\\udfff": 1}', "[" * 5000],
)
def test_what_cannot_be_printed_or_written_again_is_no_value(text):
    assert of_tag_value(text, dict) is None


def test_half_a_character_becomes_a_question_mark():
    assert json.loads(to_tag_value({"reason": "caf\udce9 é"})) == {"reason": "caf? é"}
