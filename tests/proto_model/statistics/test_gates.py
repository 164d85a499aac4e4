import json

import numpy as np
import pytest

from proto_model.statistics import (
    Answers,
    balanced_accuracy_difference,
    group_gate,
    metric_gate,
    no_worse_gate,
)


def selected(shares, sizes):
    """Predictions that select a share of each group, exactly, and the groups."""
    predicted = np.concatenate(
        [np.arange(n) < round(share * n) for share, n in zip(shares, sizes, strict=True)]
    ).astype(np.int64)
    return predicted, np.repeat([f"g{i}" for i in range(len(sizes))], sizes)


def verdicts(n, ratio, n_sets=60):
    generator = np.random.default_rng(n)
    groups = np.repeat(["a", "b"], n)
    found = []
    for _ in range(n_sets):
        predicted = (generator.random(2 * n) < np.repeat([0.5, 0.5 * ratio], n)).astype(np.int64)
        found.append(group_gate("selection", predicted, predicted, groups, 0.8, ratio=True).verdict)
    return found


@pytest.mark.parametrize("n", [50])
def test_a_gate_on_groups_rarely_errs_however_few_the_rows_are(n):
    # On point estimates, 46 % of equal groups of 50 rows fail, and 35 % of those at .75 pass.
    assert np.mean([verdict == "failed" for verdict in verdicts(n, 1.0)]) <= 0.05 + 0.05
    assert np.mean([verdict == "failed" for verdict in verdicts(n, 0.8)]) <= 0.05 + 0.06
    assert np.mean([verdict == "passed" for verdict in verdicts(n, 0.75)]) <= 0.05 + 0.05


def test_three_verdicts_and_the_rows_that_one_needs():
    for shares, sizes, verdict in (
        ([0.5, 0.5], [3000, 3000], "passed"),
        ([0.5, 0.2], [300, 300], "failed"),
        ([0.5, 0.5], [50, 50], "not enough rows"),
    ):
        predicted, groups = selected(shares, sizes)
        gate = group_gate("selection", predicted, predicted, groups, 0.8, ratio=True)
        assert gate.verdict == verdict
        assert (gate.rows_needed is None) == (verdict != "not enough rows")
        assert gate.compared == ("g0", "g1")
        json.dumps(gate.to_dict(), allow_nan=False)
    assert 300 < gate.rows_needed < 3000


def test_the_worst_pair_decides_and_each_group_is_compared_with_the_largest():
    predicted, groups = selected([0.5, 0.5, 0.1], [4000, 3000, 2000])
    gate = group_gate("selection", predicted, predicted, groups, 0.8, ratio=True)

    assert gate.verdict == "failed"
    assert gate.compared == ("g0", "g2")


def test_gaps_of_rates_are_about_the_rows_that_they_ask_for():
    predicted, groups = selected([0.6, 0.58], [4000, 4000])
    y = np.ones_like(predicted)

    assert group_gate("tpr", y, predicted, groups, 0.1, ratio=False).verdict == "passed"
    assert group_gate("accuracy", y, predicted, groups, 0.01, ratio=False).verdict != "passed"
    # No row is of the other class, so nothing is known of false positives.
    nothing = group_gate("fpr", y, predicted, groups, 0.1, ratio=False)
    assert (nothing.verdict, nothing.n_rows, nothing.rows_needed) == ("not enough rows", 0, None)


def test_nobody_selected_is_no_proof_of_equal_treatment():
    predicted, groups = selected([0, 0], [40, 40])

    assert group_gate("selection", predicted, predicted, groups, 0.8, ratio=True).verdict == "not enough rows"


def test_a_gate_on_a_class_metric():
    y = np.repeat([0, 1], [500, 100])
    found = Answers(np.concatenate([np.zeros(500), np.ones(99), np.zeros(1)]).astype(np.int64))

    assert metric_gate("recall", y, found, 2, 0.9, class_index=1).verdict == "passed"
    assert metric_gate("recall", y, found, 2, 0.95, class_index=1).verdict == "passed"
    few = metric_gate("recall", y, found, 2, 0.98, class_index=1)
    assert few.verdict == "not enough rows"
    assert few.rows_needed > few.n_rows
    assert metric_gate("accuracy", y, found, 2, 0.999).verdict in ("failed", "not enough rows")
    assert metric_gate("recall", y[:500], found, 2, 0.9, class_index=1).verdict == "not enough rows"


def test_no_worse_than_the_champion_by_a_margin():
    counts = np.array([500, 500]), np.array([5, 5]), np.array([5, 5])
    equal = balanced_accuracy_difference(*counts)

    assert no_worse_gate(equal, 0.02, 1000).verdict == "passed"
    assert no_worse_gate(equal, 0.002, 1000).verdict == "not enough rows"
    worse = balanced_accuracy_difference(counts[0], np.array([40, 40]), np.array([1, 1]))
    assert no_worse_gate(worse, 0.02, 1000).verdict == "failed"


def test_what_cannot_be_compared_is_refused():
    y = np.array([0, 1])
    with pytest.raises(ValueError, match="two or more; there is a"):
        group_gate("selection", y, y, np.array(["a", "a"]), 0.8, ratio=True)
    with pytest.raises(ValueError, match="No measure 'luck'"):
        group_gate("luck", y, y, np.array(["a", "b"]), 0.8, ratio=True)
