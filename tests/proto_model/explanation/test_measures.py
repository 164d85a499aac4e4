import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto_model.explanation.background import Background
from proto_model.explanation.measures import balanced_agreement, draw_inside, draw_neighbors, row_generator
from proto_model.explanation.rule import Premise, Rule


@pytest.fixture(scope="module")
def background(schema, rows):
    return Background.from_matrix(schema, rows)


@given(
    bounds=st.tuples(st.floats(-20, 120), st.floats(-20, 120)).map(sorted).filter(lambda b: b[0] < b[1]),
    codes=st.sets(st.integers(0, 2)),
    missing=st.booleans(),
)
@example(bounds=[0.0, 5e-324], codes=set(), missing=False)  # neighbouring floats
def test_rows_drawn_inside_a_rule_satisfy_it(background, bounds, codes, missing):
    low, high = bounds
    whole = int(np.floor(low)), int(np.floor(high)) + 1
    rule = Rule(
        (
            Premise(0, above=low, at_most=high, or_missing=missing),
            Premise(3, codes=tuple(sorted(codes)), or_missing=missing or not codes),
            Premise(4, above=whole[0], at_most=whole[1]),
        ),
        consequence=0,
    )

    X = draw_inside(background, rule, 50, np.random.default_rng(0))

    assert rule.covers(X).all()
    assert (X[:, 4] == np.round(X[:, 4])).all()


def test_half_of_a_neighbour_s_values_are_the_row_s_own(background, rows):
    x = np.array([55.55, 3, 1, 2, 40])

    X = draw_neighbors(background, x, 4000, np.random.default_rng(0))

    assert (X[:, 0] == x[0]).mean() == pytest.approx(0.5, abs=0.03)
    known = np.append(rows[:, 0], x[0])
    assert np.isin(X[:, 0], known).mean() + np.isnan(X[:, 0]).mean() == 1


def test_random_numbers_depend_on_seed_purpose_and_values_only():
    x = np.array([0.0, 1.5, np.nan])
    same = np.array([-0.0, 1.5, -np.nan])

    first = row_generator(1, x, "rule").random()
    assert row_generator(1, same, "rule").random() == first
    assert row_generator(2, x, "rule").random() != first
    assert row_generator(1, x, "moves").random() != first
    assert row_generator(1, x + 1, "rule").random() != first


def test_agreement_weighs_every_class_the_same():
    y_model = np.array([0] * 90 + [1] * 10)

    assert balanced_agreement(y_model, np.zeros(100, dtype=int)) == 0.5
    assert balanced_agreement(y_model, y_model) == 1
