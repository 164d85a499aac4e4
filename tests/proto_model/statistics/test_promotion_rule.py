import numpy as np
import pytest

from proto_model.statistics import PromotionRule, judge_promotion, rows_needed


def promoted(sizes, apart, difference, n_sets=100, rule=PromotionRule()):  # noqa: B008
    n_rows = np.array(sizes)
    shares = [(apart - difference) / 2, (apart + difference) / 2, 1 - apart]
    drawn = np.random.default_rng(2).multinomial(n_rows, shares, size=(n_sets, len(sizes)))
    return np.mean([judge_promotion(n_rows, one[:, 0], one[:, 1], rule).promotes for one in drawn])


@pytest.mark.parametrize(("sizes", "apart"), [((30, 30), 0.1), ((54, 6), 0.2), ((10,) * 3, 0.3)])
def test_an_equal_model_is_rarely_promoted(sizes, apart):
    # By a higher score alone it is in 44 % to 53 % of cases, and one that is 2 points worse in 24 % to 30 %.
    assert promoted(sizes, apart, 0.0) <= 0.05 + 0.03
    assert promoted(sizes, apart, -0.02) <= 0.01 + 0.02


def test_a_better_model_is_promoted_when_there_are_rows():
    assert promoted((1000, 1000), 0.1, 0.04, 30) > 0.8


def test_one_row_of_63_is_not_enough_and_the_rows_needed_are_told():
    counts = np.array([40, 23]), np.array([0, 0]), np.array([0, 1])
    verdict = judge_promotion(*counts, PromotionRule())

    assert verdict.verdict == "not enough rows"
    assert not verdict.promotes
    assert verdict.needed.in_all == 63 + verdict.needed.more
    assert verdict.needed.difference == pytest.approx(1 / 46)


def test_the_rows_needed_promote_in_four_of_five_cases():
    n_rows, first, second = np.array([60, 40]), np.array([2, 2]), np.array([5, 4])
    needed = rows_needed(n_rows, first, second, PromotionRule())
    grown = np.round(n_rows * needed.in_all / 100).astype(np.int64)
    shares = np.stack([first / n_rows, second / n_rows, 1 - (first + second) / n_rows], axis=1)
    drawn = np.random.default_rng(0).multinomial(grown, shares, size=(100, 2))
    rate = np.mean([judge_promotion(grown, one[:, 0], one[:, 1], PromotionRule()).promotes for one in drawn])

    assert 0.64 < rate < 0.96


def test_a_challenger_that_is_not_ahead_asks_for_no_rows():
    counts = np.array([50, 50]), np.array([3, 2]), np.array([2, 3])

    assert judge_promotion(*counts, PromotionRule()).verdict == "not better"
    assert rows_needed(*counts, PromotionRule()) is None


def test_a_later_attempt_asks_for_more():
    counts = np.array([100, 100]), np.array([3, 2]), np.array([8, 9])
    assert judge_promotion(*counts, PromotionRule()).promotes

    later = judge_promotion(*counts, PromotionRule(share=0.001))
    assert later.verdict == "not enough rows"
    assert later.p_better_asked == pytest.approx(0.99995)


def test_an_improvement_asked_for_has_to_be_shown():
    counts = np.array([100, 100]), np.array([3, 2]), np.array([8, 9])

    assert judge_promotion(*counts, PromotionRule(), min_improvement=0.1).verdict == "not better"
    assert judge_promotion(*counts, PromotionRule(), min_improvement=0.05).verdict == "not enough rows"


@pytest.mark.parametrize("wrong", [{"equal_error": 0}, {"worse_error": 0.5}, {"margin": -0.1}, {"share": 0}])
def test_levels_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .* given"):
        PromotionRule(**wrong)
