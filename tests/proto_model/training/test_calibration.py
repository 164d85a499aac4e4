"""Calibration is kept when it helps rows that it has not seen, and left out when it does not."""

import numpy as np
import pytest

from proto_model.training.calibration import METHODS, chosen, fitted, log_losses


def rows(n_rows, n_classes, power, seed=0):
    """Classes, and probabilities that are right with the power 1, too cautious below it, too sure above."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.linspace(1, 0.5, n_classes), n_rows) + 1e-5
    truth /= truth.sum(axis=1, keepdims=True)
    y = (truth.cumsum(axis=1)[:, :-1] < rng.random((n_rows, 1))).sum(axis=1)
    stated = truth**power
    return y, stated / stated.sum(axis=1, keepdims=True)


def parts(n_rows, seed=0):
    return np.array_split(np.random.default_rng(seed).permutation(n_rows), 5)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("power", [0.5, 2.0])
def test_what_is_stated_wrongly_is_put_right(method, n_classes, power):
    calibration = fitted(method, *rows(3000, n_classes, power))
    y, stated = rows(3000, n_classes, power, seed=1)

    gain = log_losses(y, stated) - log_losses(y, calibration(stated))

    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_calibration_keeps_the_order_of_two_classes_and_never_says_0_or_1(n_classes):
    for method in METHODS:
        calibration = fitted(method, *rows(500, n_classes, 2.0))
        grid = np.linspace(0, 1, 1001)
        ends = np.column_stack([1 - grid, grid, *[np.zeros(1001)] * (n_classes - 2)])
        answered = calibration(ends)
        assert (np.diff(answered[:, 1]) >= 0).all()
        assert answered.min() > 0
        assert answered.max() < 1


def test_auto_keeps_what_helps():
    y, stated = rows(2000, 2, 0.5)

    choice = chosen("auto", y, stated, parts(2000))

    assert choice.calibration is not None
    assert choice.after["log loss"] < choice.before["log loss"]


def test_auto_seldom_calibrates_what_is_right_already():
    """benchmarks/conformal.py false is the long form."""
    kept = [
        chosen("auto", *rows(300, 3, 1.0, seed), parts(300, seed)).calibration is not None
        for seed in range(40)
    ]

    assert np.mean(kept) <= 0.1


def test_each_row_is_judged_by_a_calibration_that_has_not_seen_it():
    y, stated = rows(400, 2, 0.5)
    flipped = y.copy()
    flipped[parts(400)[0]] = 1 - y[parts(400)[0]]

    judged = [chosen("sigmoid", labels, stated, parts(400)).out_of_fold for labels in (y, flipped)]

    np.testing.assert_array_equal(judged[0][parts(400)[0]], judged[1][parts(400)[0]])
    assert (judged[0][parts(400)[1]] != judged[1][parts(400)[1]]).any()


@pytest.mark.parametrize("wish", ["none", *METHODS])
def test_a_wish_is_granted(wish):
    choice = chosen(wish, *rows(300, 2, 1.0), parts(300))

    assert (choice.calibration.method if choice.calibration else "none") == wish


def test_few_rows_of_a_class_are_not_calibrated_and_it_says_so():
    y = np.array([0] * 50 + [1] * 4)

    choice = chosen("auto", y, np.full((54, 2), 0.5), parts(54))

    assert choice.calibration is None
    assert "fewer than 10 training rows" in choice.reason
