import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.registry.promotion.decision import Criteria, decide

differences = st.floats(-1, 1)
criteria = st.builds(Criteria, min_improvement=st.floats(0, 1), confidence=st.none() | st.floats(0.01, 0.99))


def test_by_default_any_higher_score_is_superior():
    assert decide(1e-6, (-0.1, 0.1), Criteria()).superior
    assert not decide(-1e-6, (-0.1, 0.1), Criteria()).superior


def test_a_margin_has_to_be_reached():
    assert not decide(0.0099, (0.005, 0.02), Criteria(min_improvement=0.01)).superior
    assert decide(0.01, (0.005, 0.02), Criteria(min_improvement=0.01)).superior


def test_with_a_confidence_the_interval_has_to_exclude_zero():
    confident = Criteria(confidence=0.95)

    assert decide(0.02, (0.001, 0.04), confident).superior
    assert not decide(0.02, (0.0, 0.04), confident).superior
    assert "95 % confidence interval" in decide(0.02, (0.0, 0.04), confident).reason


@given(criteria)
def test_equal_scores_never_promote(asked):
    assert not decide(0.0, (0.0, 0.0), asked).superior


@given(differences, differences, differences, criteria)
def test_two_models_are_never_superior_to_each_other(difference, one, other, asked):
    low, high = sorted([one, other])

    there, back = decide(difference, (low, high), asked), decide(-difference, (-high, -low), asked)
    assert not (there.superior and back.superior)


@given(differences, differences, differences, criteria)
def test_asking_for_more_never_promotes_more(difference, one, other, asked):
    low, high = sorted([one, other])

    if decide(difference, (low, high), asked).superior:
        assert decide(difference, (low, high), Criteria()).superior


@pytest.mark.parametrize(
    "wrong", [{"confidence": 0.0}, {"confidence": 95.0}, {"min_improvement": -0.1}, {"min_improvement": 2.0}]
)
def test_criteria_out_of_range_are_refused_with_the_value(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Criteria(**wrong)
