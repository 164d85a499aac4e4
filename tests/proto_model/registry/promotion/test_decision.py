"""The whole decision: what it asks for, what it says, and how often it is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.registry.promotion.comparison import PairedCounts, count_pairs
from proto_model.registry.promotion.decision import (
    Attempt,
    Criteria,
    attempt_of,
    decide,
    decide_alone,
    shown_probability,
)
from proto_model.registry.promotion.gate_verdicts import GateResult
from proto_model.registry.promotion.gates import parse_gates
from proto_model.statistics import Attempts, GateVerdict, Interval

FIRST = Attempt(1, 1.0, "1")
labels = st.integers(0, 3)
rows = st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=60).map(np.array)
some_criteria = st.builds(
    Criteria,
    min_improvement=st.floats(0, 1),
    confidence=st.none() | st.floats(0.01, 0.99),
    rule=st.sampled_from(["evidence", "point"]),
)


def counts_of(n_rows, champion_only, challenger_only):
    """Counts of classes in which the rest of the rows are right with both."""
    cells = [np.array(cell) for cell in (n_rows, champion_only, challenger_only)]
    return PairedCounts(cells[0], cells[0] - cells[1] - cells[2], *cells[1:])


def result(verdict, rows_needed=None):
    (gate,) = parse_gates(["recall[a] >= .9"], "metric")
    return GateResult(gate, GateVerdict(verdict, Interval(0.9, 0.8, 0.95, 0.9), 0.9, True, 50, rows_needed))


def test_one_row_of_sixty_three_is_not_enough_and_it_is_said_how_many_would_be():
    one_row = counts_of([40, 23], [0, 0], [0, 1])
    decision = decide(one_row, Criteria(), FIRST)

    assert decide(one_row, Criteria(rule="point"), FIRST).outcome == "promoted"
    assert decision.outcome == "not_enough_rows"
    assert decision.promotion.needed.more > 100
    assert f"about {decision.promotion.needed.more} more needed" in decision.reason


def test_clear_evidence_promotes_and_the_sentence_has_both_probabilities():
    decision = decide(counts_of([300, 300], [3, 4], [40, 30]), Criteria(), FIRST)

    assert decision.outcome == "promoted"
    assert "It is better with probability more than 0.999999" in decision.reason
    assert "(0.95 asked for)" in decision.reason
    assert "worse by more than 0.02" in decision.reason


@pytest.mark.parametrize("rule", ["evidence", "point"])
def test_a_worse_or_equal_challenger_is_not_promoted(rule):
    worse = decide(counts_of([50, 50], [5, 5], [1, 1]), Criteria(rule=rule), FIRST)
    equal = decide(counts_of([50, 50], [5, 5], [5, 5]), Criteria(rule=rule), FIRST)

    assert (worse.outcome, equal.outcome) == ("kept", "kept")
    assert "lower by 0.0800" in worse.reason
    assert "the same balanced accuracy" in equal.reason


@given(rows, some_criteria)
def test_a_model_never_beats_itself(table, criteria):
    y, predicted, _ = table.T

    assert decide(count_pairs(y, predicted, predicted, 4), criteria, FIRST).outcome == "kept"


@given(rows, some_criteria)
def test_two_models_are_never_superior_to_each_other(table, criteria):
    y, first, second = table.T
    pairs = ((first, second), (second, first))

    outcomes = [decide(count_pairs(y, *pair, 4), criteria, FIRST).outcome for pair in pairs]
    assert outcomes != ["promoted", "promoted"]


@given(rows, st.floats(0, 1), st.floats(0.9, 0.99), st.floats(0.01, 1))
def test_asking_for_more_never_promotes_more(table, min_improvement, confidence, share):
    y, first, second = table.T
    counts = count_pairs(y, first, second, 4)
    asked = Criteria(min_improvement, confidence)

    if decide(counts, asked, Attempt(2, share, "1")).outcome == "promoted":
        assert decide(counts, Criteria(), FIRST).outcome == "promoted"
        assert decide(counts, Criteria(rule="point"), FIRST).outcome == "promoted"


def test_the_point_rule_is_that_of_earlier_releases():
    better = counts_of([100, 100], [3, 3], [4, 4])
    surely = counts_of([300, 300], [3, 4], [40, 30])

    assert decide(better, Criteria(rule="point"), FIRST).outcome == "promoted"
    assert decide(better, Criteria(0.02, rule="point"), FIRST).outcome == "kept"
    assert "includes zero" in decide(better, Criteria(confidence=0.95, rule="point"), FIRST).reason
    assert decide(surely, Criteria(confidence=0.95, rule="point"), FIRST).outcome == "promoted"
    assert decide(surely, Criteria(rule="point"), FIRST).promotion is None


def test_a_confidence_says_how_often_an_equal_model_may_be_promoted():
    assert Criteria(confidence=0.9).promotion_rule(1.0).equal_error == pytest.approx(0.05)
    assert Criteria(confidence=0.99).promotion_rule(0.5).p_better_asked == pytest.approx(1 - 0.0025)
    assert Criteria().promotion_rule(1.0).equal_error == 0.05


def test_better_means_better_by_the_improvement_that_is_asked_for():
    better = counts_of([300, 300], [3, 4], [40, 30])

    assert decide(better, Criteria(0.05), FIRST).outcome == "promoted"
    assert decide(better, Criteria(0.1), FIRST).outcome == "not_enough_rows"
    assert "but not by more than 0.2" in decide(better, Criteria(0.2), FIRST).reason


@pytest.mark.parametrize(
    ("gate", "outcome", "allowed", "phrase"),
    [
        ("passed", "promoted", "promoted", "higher"),
        ("failed", "kept", "kept", "Failed: 'recall[a] >= .9'"),
        (
            "not enough rows",
            "not_enough_rows",
            "promoted",
            "Not enough rows (about 400 needed) for 'recall[a]",
        ),
    ],
)
def test_gates_block_a_promotion_unless_they_are_passed(gate, outcome, allowed, phrase):
    better = counts_of([300, 300], [3, 4], [40, 30])
    gates = [result("passed"), result(gate, 400 if gate == "not enough rows" else None)]
    decision = decide(better, Criteria(), FIRST, gates)

    assert decision.outcome == outcome
    assert phrase in decision.reason
    assert decide(better, Criteria(allow_unsure=True), FIRST, gates).outcome == allowed
    assert decide_alone("m", Criteria(), gates).outcome == outcome
    assert decide(counts_of([50, 50], [5, 5], [1, 1]), Criteria(), FIRST, gates).outcome == "kept"


def test_later_attempts_need_more_evidence_and_a_repetition_is_no_attempt():
    attempts = Attempts("3")
    for version in range(4, 10):
        attempts = attempts.record(f"version {version}")
    seventh = attempt_of(attempts, "version 10", Criteria())
    good = counts_of([300, 300], [10, 10], [19, 19])

    assert (seventh.number, seventh.champion) == (7, "3")
    assert attempt_of(attempts, "version 4", Criteria()).number == 1
    assert attempt_of(attempts, "version 10", Criteria(sequential=False)).share == 1
    assert decide(good, Criteria(), FIRST).outcome == "promoted"
    decision = decide(good, Criteria(), seventh)
    assert decision.outcome == "not_enough_rows"
    assert "attempt 7 since version 3 became champion" in decision.reason
    assert decision.to_dict()["attempt"]["number"] == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 0.0}, {"confidence": 95.0}, {"min_improvement": -0.1}, {"min_improvement": 2.0},
        {"margin": -0.1}, {"margin": 1.0},
    ],
)  # fmt: skip
def test_criteria_out_of_range_are_refused_with_the_value(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Criteria(**wrong)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.5"), (0.95, "0.95"), (0.99984, "0.9998"), (0.00004, "0.00004"), (0.0, "less than 0.000001")],
)
def test_a_probability_is_not_rounded_to_certainty(value, shown):
    assert shown_probability(value) == shown


def simulated(generator, n_rows, accuracy, gap, agreement, n):
    """Decisions on tables of two models; the second is better by `gap`, and `agreement` is their overlap."""
    wrong_only = (1 - agreement) / 2
    cells = [accuracy - wrong_only, wrong_only - gap / 2, wrong_only + gap / 2]
    cells.append(1 - sum(cells))
    half = [n_rows // 2, n_rows - n_rows // 2]
    drawn = np.stack([generator.multinomial(rows, cells, size=n) for rows in half], axis=1)
    return [PairedCounts(np.array(half), part[:, 0], part[:, 1], part[:, 2]) for part in drawn]


@pytest.mark.parametrize(("n_rows", "agreement"), [(63, 0.94), (1000, 0.86)])
def test_equal_and_worse_models_are_seldom_promoted(n_rows, agreement):
    generator = np.random.default_rng(0)
    n = 300

    def share(gap, rule):
        tables = simulated(generator, n_rows, 0.85, gap, agreement, n)
        return np.mean(
            [decide(counts, Criteria(rule=rule), FIRST).outcome == "promoted" for counts in tables]
        )

    # Bounds of what a share of .05 or .01 may look like in 300 tables, with an error of one in a thousand.
    assert share(0.0, "evidence") <= 0.093
    assert share(-0.02, "evidence") <= 0.034
    assert share(0.0, "point") > 0.3, "which is what the rule is for"
