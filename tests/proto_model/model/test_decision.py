"""From probabilities to answers: exact for any number of rows, consistent, and as `decision.json` says."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.errors import ArtifactError, InputError
from proto_model.model.decision import (
    DECISION_FILE,
    PLAIN,
    Calibration,
    Decision,
    PredictionSets,
    kept_ranks,
)

GRID = np.linspace(0, 1, 6)


def calibration(n_classes):
    tables = 1 if n_classes == 2 else n_classes
    return Calibration(
        "isotonic", (GRID,) * tables, tuple(0.05 + 0.9 * GRID ** (k + 1) for k in range(tables))
    )


def costs(n_classes, seed=0):
    drawn = np.random.default_rng(seed).uniform(0.1, 20, (n_classes, n_classes))
    return drawn * (1 - np.eye(n_classes))


@st.composite
def answers(draw):
    n_classes = draw(st.integers(2, 12))
    shares = st.lists(st.floats(0, 1), min_size=n_classes, max_size=n_classes).filter(lambda s: sum(s) > 0.01)
    rows = np.array(draw(st.lists(shares, min_size=1, max_size=8)))
    return rows / rows.sum(axis=1, keepdims=True)


@given(answers(), st.integers(0, 5))
def test_a_row_is_answered_alike_to_the_bit_whatever_is_beside_it(raw, seed):
    n_classes = raw.shape[1]
    decision = Decision(calibration(n_classes), costs(n_classes, seed))

    p = decision.calibrated(raw)
    alone = [decision.calibrated(row[np.newaxis]) for row in raw]

    assert_array_equal(p, np.concatenate(alone))
    assert_array_equal(decision.scores(p), np.concatenate([decision.scores(row) for row in alone]))
    assert (p > 0).all()
    assert (p < 1).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)


@given(answers(), st.integers(0, 5))
def test_the_decision_has_the_least_expected_cost(p, seed):
    decision = Decision(costs=costs(p.shape[1], seed))
    expected = p @ decision.costs

    decided = decision.decide(p)

    chosen = expected[np.arange(len(p)), decided]
    np.testing.assert_allclose(chosen, expected.min(axis=1), rtol=1e-9, atol=1e-12)
    assert_array_equal(decided, decision.scores(p).argmax(axis=1))
    np.testing.assert_allclose(decision.scores(p).sum(axis=1), 1)


@given(answers())
def test_equal_costs_decide_as_no_costs_do(p):
    equal = Decision(costs=1 - np.eye(p.shape[1]))

    decided = equal.decide(p)

    np.testing.assert_allclose(p[np.arange(len(p)), decided], p.max(axis=1), rtol=1e-12)


def test_of_two_classes_costs_are_a_threshold():
    decision = Decision(costs=np.array([[0.0, 1.0], [10.0, 0.0]]))
    second = np.array([0.05, 0.09, 0.0909, 0.0910, 0.5, 0.9])

    decided = decision.decide(np.column_stack([1 - second, second]))

    assert decided.tolist() == [0, 0, 0, 1, 1, 1]


def test_without_a_decision_the_most_probable_class_is_predicted_and_probabilities_stay_the_same_object():
    p = np.array([[0.5, 0.5], [0.25, 0.75]])

    assert PLAIN.calibrated(p) is p
    assert PLAIN.decide(p).tolist() == [0, 1]
    with pytest.raises(InputError, match="Train it again"):
        PLAIN.prediction_sets(p, ["no", "yes"], 0.9)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n_rows", [9, 40, 3000])
def test_exchangeable_rows_are_covered_as_promised_in_each_class(n_rows, coverage):
    """The exact guarantee of split conformal sets, for scores without ties."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], n_rows)
    covered = []
    for _ in range(400):
        own = rng.beta(3, 2, 2 * n_rows)
        p = np.where(y[:, np.newaxis] == [0, 1], own[:, np.newaxis], 1 - own[:, np.newaxis])
        least = PredictionSets.of(y, p, "class").least[round(coverage * 1000) - 500, 1]
        # The share of new rows that reach the threshold, without drawing them.
        covered.append(1 - _beta_share(least))

    error = 4 * np.std(covered) / np.sqrt(len(covered))
    assert coverage - error <= np.mean(covered) <= coverage + 1 / (n_rows + 1) + error


def _beta_share(share):
    from scipy.stats import beta

    return beta.cdf(share, 3, 2)


@pytest.mark.parametrize("conformal", ["class", "marginal"])
def test_a_class_with_too_few_rows_is_in_every_set(conformal):
    y = np.array([0] * 30 + [1] * 8)
    p = np.where(y[:, np.newaxis] == [0, 1], 0.99, 0.01)

    sets = PredictionSets.of(y, p, conformal)
    members = sets.members(np.array([[1.0, 0.0]]), 0.9)

    assert members.tolist() == [[True, conformal == "class"]]  # 8 rows are fewer than the 9 of 0.9
    assert PredictionSets.of(y, p, "class").members(np.array([[1.0, 0.0]]), 0.88).tolist() == [[True, False]]


@given(answers(), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_sets_grow_with_the_coverage_and_hold_the_prediction(p, low, high):
    low, high = min(low, high), max(low, high)
    rng = np.random.default_rng(0)
    y = rng.integers(0, p.shape[1], 200)
    sets = PredictionSets.of(y, rng.dirichlet(np.ones(p.shape[1]), 200), "class")
    decision = Decision(costs=costs(p.shape[1]), sets=sets)
    labels = [f"c{k}" for k in range(p.shape[1])]

    small, large = (decision.prediction_sets(p, labels, coverage) for coverage in (low, high))

    assert all(set(a) <= set(b) for a, b in zip(small, large, strict=True))
    assert all(labels[k] in members for k, members in zip(decision.decide(p), small, strict=True))
    assert all(members == sorted(members, key=labels.index) for members in small)
    assert small == [decision.prediction_sets(row[np.newaxis], labels, low)[0] for row in p]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_decision_survives_its_file_to_the_bit(tmp_path, n_classes):
    rng = np.random.default_rng(3)
    raw = rng.dirichlet(np.ones(n_classes), 500)
    sets = PredictionSets.of(rng.integers(0, n_classes, 500), raw, "class")
    decision = Decision(calibration(n_classes), costs(n_classes), sets)

    decision.write(tmp_path)
    read = Decision.read(tmp_path, n_classes)

    p = decision.calibrated(raw)
    assert_array_equal(read.calibrated(raw), p)
    assert_array_equal(read.scores(p), decision.scores(p))
    assert_array_equal(read.sets.least, sets.least)
    assert max(map(len, sets.scores)) <= 500


def test_what_says_nothing_is_not_written(tmp_path):
    PLAIN.write(tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert Decision.read(tmp_path, 2) is PLAIN


TABLE = {"method": "isotonic", "x": [[0.0, 1.0]], "y": [[0.1, 0.9]]}
SETS = {"conformal": "marginal", "n_rows": [3], "scores": [[0.9, 0.2]]}


@pytest.mark.parametrize(
    "content",
    [
        {"calibration": {**TABLE, "y": [[0.9, 0.1]]}},
        {"calibration": {**TABLE, "y": [[0.0, 0.9]]}},
        {"calibration": {**TABLE, "x": [[0.0, 0.0]]}},
        {"calibration": {**TABLE, "x": [[0.0]]}},
        {"calibration": {**TABLE, "x": [[0.0, 1.0], [0.0, 1.0]]}},
        {"calibration": {**TABLE, "y": [[0.1, float("nan")]]}},
        {"calibration": {"method": "isotonic"}},
        {"costs": [[0, 1]]},
        {"costs": [[0, 0], [1, 0]]},
        {"costs": [[1, 1], [1, 0]]},
        {"costs": [[0, float("inf")], [1, 0]]},
        {"sets": {**SETS, "conformal": "none"}},
        {"sets": {**SETS, "n_rows": [9]}},
        {"sets": {**SETS, "n_rows": [3.0]}},
        {"sets": {**SETS, "scores": [[0.2, 0.9]]}},
        {"sets": {**SETS, "scores": [[1.2, 0.9]]}},
        {"later": 1},
        [],
        "text",
        {"costs": [[0, 10**400], [1, 0]]},
        {"calibration": {**TABLE, "x": [[0.0, 10**400]]}},
        "[" * 100_000,
    ],
    ids=lambda content: str(content)[:60],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content):
    text = content if str(content).startswith("[[") else json.dumps(content)
    (tmp_path / DECISION_FILE).write_text(text)

    with pytest.raises(ArtifactError, match=r"decision\.json"):
        Decision.read(tmp_path, 2)


def test_the_kept_ranks_answer_every_coverage():
    for n_rows in (0, 1, 9, 500, 100_000):
        ranks = kept_ranks(n_rows)
        assert len(ranks) <= 500
        assert all(1 <= rank <= n_rows for rank in ranks)


def test_the_file_of_the_tests_above_is_one(tmp_path):
    (tmp_path / DECISION_FILE).write_text(json.dumps({"calibration": TABLE, "sets": SETS}))

    assert Decision.read(tmp_path, 2).sets.least.shape == (500, 1)


@given(wrong=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), share=st.floats(0, 1))
def test_of_two_classes_the_second_is_decided_above_the_threshold(wrong, share):
    decision = Decision(costs=np.array([[0.0, wrong[0]], [wrong[1], 0.0]]))
    threshold = decision.threshold(2)
    assume(abs(share - threshold) > 1e-9)

    assert decision.decide(np.array([[1 - share, share]])) == [share > threshold]


def test_without_costs_the_threshold_is_one_half_and_more_classes_have_none():
    assert Decision().threshold(2) == 0.5
    assert Decision().threshold(3) is None
    assert Decision(costs=np.array([[0.0, 1e12], [1e-12, 0.0]])).threshold(2) is None
