import datetime

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.registry.details import (
    Details,
    changes,
    checked_labels,
    checked_object,
    checked_records,
)

LABELS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=32).filter(
    lambda s: s.strip() == s
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(min_size=1).filter(str.strip), VALUES, max_size=4)


@given(st.sets(LABELS, max_size=5), OBJECTS, st.none() | OBJECTS, st.sets(LABELS, max_size=3))
def test_details_survive_the_trip_through_tags(labels, config, hyperparameters, records):
    details = Details("a *forest*", tuple(sorted(labels)), config, hyperparameters, tuple(sorted(records)))
    tags = {key: value for key, value in details.to_tags().items() if value is not None}
    read = Details.of("a *forest*", tags)
    assert read.labels == details.labels
    assert (read.config, read.hyperparameters) == (config, hyperparameters)


def test_tags_that_others_wrote_in_another_form_say_nothing():
    tags = {"labels": "q3, eu", "config": "[1]", "hyperparameters": "{", "records": '{"a": 1}'}
    assert Details.of(None, tags) == Details()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x" * 33], "has 33 characters, and at most 32"),
        (["q3", " q3 "], "given twice: 'q3'"),
        (["a\tb"], "control character"),
        (["a\u202eb"], "control character"),
        (["  "], "empty label"),
    ],
)
def test_labels_that_are_none_are_named(labels, message):
    with pytest.raises(InputError, match=message):
        checked_labels(labels)


def test_a_label_of_32_characters_is_one():
    assert checked_labels(["ä" * 32]) == ("ä" * 32,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "config: a list given, an object"),
        (None, "config: nothing given"),
        ("a", "config: a text given"),
        ({1: 2}, "1 is no name"),
        ({"a": float("nan")}, "'a' is nan, which JSON does not know"),
        ({"a": {"b": {1, 2}}}, "is a set, and JSON has no such value"),
        ({"a": "x" * 5000}, r"config takes 5,009 characters as JSON, and MLflow keeps 5,000"),
    ],
)
def test_what_is_no_json_object_is_told(value, message):
    with pytest.raises(InputError, match=message):
        checked_object("config", value)


def test_yaml_that_repeats_itself_a_billion_times_is_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(InputError, match="more values than"):
        checked_object("config", yaml.safe_load("\n".join(lines)))


def test_dates_and_numpy_numbers_become_json():
    given_ = {"day": datetime.date(2026, 10, 31), "n": np.int64(3), "x": np.float64(0.25), "pair": (1, 2)}
    assert checked_object("config", given_) == {"day": "2026-10-31", "n": 3, "x": 0.25, "pair": [1, 2]}


def test_records_lose_what_may_be_secret():
    records = ["https://u:p@lake.example/a.csv?X-Amz-Signature=s#f", "s3://lake/a.parquet", "data/a.csv"]
    assert checked_records(records) == ("https://lake.example/a.csv", "s3://lake/a.parquet", "data/a.csv")
    with pytest.raises(InputError, match="no URI and no path"):
        checked_records(["a\nb"])


def test_changes_name_what_differs():
    before = Details("old", ("q2",), {"a": 1}, None, ())
    after = Details("old", ("q3",), {"a": 1}, {"n": 5}, ())
    assert changes(before, after) == {
        "labels": {"before": ["q2"], "after": ["q3"]},
        "hyperparameters": {"before": None, "after": {"n": 5}},
    }
