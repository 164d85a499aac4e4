"""Explanations of rows with dates and texts, in terms of the columns that clients know."""

import json
import pickle
from datetime import date
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.errors import InputError
from proto_model.explanation import make_explainer
from proto_model.explanation.figure import explanation_figure
from proto_model.explanation.unfolded import Unfolding
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema, date_text
from proto_model.values import decode

DOCUMENT = json.loads((Path(__file__).parents[3] / "schemas/explanation.schema.json").read_text())
SCHEMA = ModelSchema(
    "m",
    "churn",
    "string",
    ("no", "yes"),
    (
        Feature("signup", "date", True, minimum=17800.0, maximum=19800.0, median=18800.0),
        Feature("note", "text", True, terms=("late", "nice", "refund")),
        Feature("amount", "double", False, minimum=0.0, maximum=1.0, median=0.5),
        Feature("seen", "datetime", False, minimum=1.7e9, maximum=1.71e9, median=1.705e9),
    ),
)
LAST_OLD = 18900.0  # 2021-09-30


def probabilities(X):
    """Yes for texts with `refund` (the third bit) of those who signed up late, whatever else there is."""
    yes = (np.nan_to_num(X[:, 1]) >= 4) & (X[:, 0] > LAST_OLD)
    return np.column_stack([~yes, yes]).astype(float)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [
            rng.integers(17800, 19800, 800),
            rng.integers(0, 8, 800),
            rng.random(800),
            rng.integers(17e8, 171e7, 800),
        ]
    ).astype(float)
    X[rng.random(800) < 0.05, 1] = np.nan
    return X


@pytest.fixture(scope="module")
def explainer(rows):
    return make_explainer("lore", SCHEMA, rows, probabilities)


@given(st.lists(st.one_of(st.just(np.nan), st.integers(0, 7).map(float)), min_size=1))
def test_texts_survive_unfolding(masks):
    X = np.zeros((len(masks), 4))
    X[:, 1] = masks
    unfolding = Unfolding(SCHEMA)

    assert_array_equal(unfolding.fold(unfolding.unfold(X)), X)


def test_a_rule_speaks_of_dates_and_words(explainer):
    row = np.array([[19500.0, 4.0, 0.5, 1.705e9]])
    (found,) = explainer.explain(row, Parameters())

    jsonschema.validate(found, DOCUMENT)
    premises = {premise["feature"]: premise for premise in found["rule"]["premises"]}
    assert premises["note"] == {"feature": "note", "contains": "refund"}
    assert abs((date.fromisoformat(premises["signup"]["above"]) - date(2021, 9, 30)).days) < 40
    assert 'note contains "refund"' in found["rule"]["text"]
    assert "known" not in found["rule"]["text"]  # what contains a word is known
    assert f"signup > {premises['signup']['above']}" in found["rule"]["text"]
    assert found["rule"]["precision"] > 0.95
    assert set(found["feature_importances"]) == set(SCHEMA.feature_names)
    assert sum(found["feature_importances"].values()) == pytest.approx(1)


def test_counterfactuals_change_dates_to_dates_and_leave_texts(explainer):
    (found,) = explainer.explain(np.array([[19500.0, 4.0, 0.5, 1.705e9]]), Parameters())

    assert found["counterfactuals"]
    for counterfactual in found["counterfactuals"]:
        changes = {change["feature"]: change for change in counterfactual["changes"]}
        assert "note" not in changes
        assert changes["signup"]["from"] == "2023-05-23"
        to = changes["signup"]["to"]
        assert to is None or date(2018, 1, 1) < date.fromisoformat(to) <= date(2021, 9, 30)
        assert counterfactual["valid"]
    assert "Counterfactuals leave texts as they are." in found["notes"]


def test_a_word_that_a_text_lacks_and_a_missing_text_are_said(explainer):
    lacking, missing = explainer.explain(
        np.array([[19500.0, 2.0, 0.5, 1.705e9], [19500.0, np.nan, 0.5, 1.705e9]]), Parameters()
    )

    assert {"feature": "note", "lacks": "refund"} in lacking["rule"]["premises"]
    assert 'note does not contain "refund"' in lacking["rule"]["text"]
    assert not any("contains" in premise for premise in missing["rule"]["premises"])
    for found in (lacking, missing):
        jsonschema.validate(found, DOCUMENT)


def test_options_name_the_columns_that_clients_know(explainer):
    row = np.array([[19500.0, 4.0, 0.5, 1.705e9]])
    fixed = Parameters(immutable_features=("signup", "note"))

    assert explainer.explain(row, fixed)[0]["counterfactuals"] == []
    (later,) = explainer.explain(row, Parameters(increase_only=("signup",)))
    assert all(
        c["to"] is None for f in later["counterfactuals"] for c in f["changes"] if c["feature"] == "signup"
    )
    with pytest.raises(InputError, match="the text 'note' has no order"):
        explainer.explain(row, Parameters(decrease_only=("note",)))


def test_the_same_row_has_the_same_explanation_in_another_process(explainer):
    row = np.array([[19500.0, 4.0, 0.5, 1.705e9]])

    assert pickle.loads(pickle.dumps(explainer)).explain(row, Parameters()) == explainer.explain(
        row, Parameters()
    )


def test_an_explanation_with_dates_and_texts_is_drawn(explainer):
    row = np.array([[19500.0, 4.0, 0.5, 1.705e9]])
    (found,) = explainer.explain(row, Parameters())

    figure = explanation_figure(found, SCHEMA, decode(row, SCHEMA).iloc[0].to_dict(), "Row 1")

    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "2023-05-23" in texts
    assert date_text(17800.0, "date") in texts


@pytest.mark.parametrize("option", ["mutable_features", "immutable_features"])
def test_a_text_may_be_named_in_the_options_and_never_changes(explainer, option):
    row = np.array([[19500.0, 4.0, 0.5, 1.705e9]])
    plain, named = (
        explainer.explain(row, options)[0] for options in (Parameters(), Parameters(**{option: ("note",)}))
    )

    assert named["counterfactuals"] == plain["counterfactuals"]
    assert named["rule"] == plain["rule"]
