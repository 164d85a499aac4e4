import numpy as np
import pytest

from proto_model.explanation.background import Background
from proto_model.explanation.rule import Premise, Rule
from proto_model.schema import Feature, ModelSchema


@pytest.fixture(scope="module")
def background(schema, rows):
    return Background.from_matrix(schema, rows)


@pytest.mark.parametrize(
    ("premise", "text", "item"),
    [
        (Premise(0, above=29.5, at_most=41.0), "29.5 < income <= 41", {"above": 29.5, "at_most": 41}),
        (
            Premise(0, at_most=3.0, or_missing=True),
            "income <= 3 or missing",
            {"at_most": 3, "or_missing": True},
        ),
        (Premise(4, above=0.0), "age > 0", {"above": 0}),
        (Premise(0), "income is known", {}),
        (Premise(2, codes=(1,)), "owner is true", {"in": [True]}),
        (Premise(3, codes=(0, 2)), "colour is blue or red", {"in": ["blue", "red"]}),
        (Premise(3, codes=(), or_missing=True), "colour is missing", {"in": [], "or_missing": True}),
    ],
)
def test_a_premise_reads_as_it_is_meant(background, premise, text, item):
    assert premise.text(background) == text
    assert premise.to_dict(background) == {
        "feature": background.schema.feature_names[premise.feature],
        **item,
    }


@pytest.fixture(scope="module")
def cities():
    names = tuple(f"city {k}" for k in range(200))
    schema = ModelSchema("m", "y", "long", (0, 1), (Feature("city", "string", True, categories=names),))
    return Background.from_matrix(schema, np.arange(200.0)[:, np.newaxis])


@pytest.mark.parametrize(
    ("codes", "missing", "text"),
    [
        (range(3), False, "city is city 0 or city 1 or city 2"),
        (range(104), False, "city is one of 104 of 200 values"),
        (range(104), True, "city is one of 104 of 200 values or missing"),
        (range(3, 200), False, "city is not city 0 nor city 1 nor city 2"),
        (range(3, 200), True, "city is not city 0 nor city 1 nor city 2 or missing"),
        (range(200), False, "city is known"),
    ],
)
def test_of_many_categories_the_count_or_the_others_are_told(cities, codes, missing, text):
    premise = Premise(0, codes=tuple(codes), or_missing=missing)

    assert premise.text(cities) == text
    names = [f"city {k}" for k in range(200)]
    for lists in ("all", "shorter", "none"):
        item = premise.to_dict(cities, lists)
        among = item.get("in") or [name for name in names if name not in item.get("not_in", names)]
        if lists != "none" or "in" in item or "not_in" in item:
            assert among == [f"city {k}" for k in codes]
        assert item.get("count", len(codes)) == len(codes)
        assert item.get("of", 200) == 200
    assert ("not_in" in premise.to_dict(cities, "shorter")) == (len(codes) > 100)


def test_an_interval_is_open_below_and_closed_above():
    column = np.array([1.0, 1.5, 2.0, 2.5, np.nan])

    assert Premise(0, above=1, at_most=2).covers(column).tolist() == [False, True, True, False, False]
    assert Premise(0, above=1, or_missing=True).covers(column).tolist() == [False, True, True, True, True]


def test_a_rule_needs_all_its_premises(background):
    rule = Rule((Premise(0, above=50.0), Premise(2, codes=(1,))), consequence=1)
    X = np.array([[60.0, 0, 1, 0, 30], [60, 0, 0, 0, 30], [40, 0, 1, 0, 30]])

    assert rule.covers(X).tolist() == [True, False, False]
    assert rule.text(background) == "IF income > 50 AND owner is true THEN yes"
    assert Rule((), 0).text(background) == "ALWAYS no"
