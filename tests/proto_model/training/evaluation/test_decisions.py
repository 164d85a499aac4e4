"""What the card and the metrics say of calibration, costs and prediction sets."""

import re

import numpy as np
import pytest

from proto_model.model.decision import Decision, PredictionSets
from proto_model.training.calibration import chosen
from proto_model.training.decision import FoundDecision
from proto_model.training.evaluation.decisions import DecidedRows
from proto_model.training.metrics import classification_metrics

COSTS = np.array([[0.0, 1.0], [9.0, 0.0]])
LABELS = ["be|nign", "malignant"]


def decided(wish="none", costs=None, rare=150, why=""):
    rng = np.random.default_rng(0)
    second = np.r_[rng.beta(2, 5, 300), rng.beta(5, 2, rare)]
    y = np.repeat([0, 1], [300, rare])
    raw = np.column_stack([1 - second, second])
    choice = chosen(wish, y, raw, np.array_split(rng.permutation(len(y)), 5))
    sets = PredictionSets.of(y, choice.out_of_fold, "class")
    return DecidedRows.of(FoundDecision(Decision(choice.calibration, costs, sets), choice, why), y, raw)


def test_without_costs_the_card_says_that_the_most_probable_class_is_predicted():
    card = "\n".join(decided().section(LABELS))

    assert "not calibrated: calibrate=none." in card
    assert "Predicted is the most probable class" in card
    assert decided().metrics() == {}


def test_the_card_says_why_there_are_costs_where_nobody_gave_any():
    weighed, plain = (
        "\n".join(decided(costs=costs, why="since so").section(LABELS)) for costs in (COSTS, None)
    )

    assert "Balanced costs are used: since so. Predicted is the class of least expected cost" in weighed
    assert "`probability` below 0.5" in weighed
    assert "of equally probable ones the first: since so." in plain
    assert "Balanced" not in "\n".join(decided(costs=COSTS).section(LABELS))


def test_the_card_shows_what_calibration_changed():
    rows = decided("sigmoid")

    card = "\n".join(rows.section(LABELS))

    assert "method `sigmoid`" in card
    before, after = rows.found.choice.before, rows.found.choice.after
    assert f"| log loss | {before['log loss']:.4f} | {after['log loss']:.4f} |" in card


def test_costs_are_a_threshold_on_the_card_and_lower_the_mean_cost():
    rows = decided("sigmoid", COSTS)

    metrics, card = rows.metrics(), "\n".join(rows.section(LABELS))

    assert metrics["mean_cost"] < metrics["mean_cost_most_probable"]
    assert metrics["mean_cost"] == pytest.approx(COSTS[rows.y, rows.predicted].mean())
    assert "**malignant** is predicted if its probability is above 0.1." in card
    assert f"**{metrics['mean_cost']:.4f}**, against {metrics['mean_cost_most_probable']:.4f}" in card


def test_metrics_judge_decisions():
    rows = decided("sigmoid", COSTS)

    by_costs = classification_metrics(rows.y, rows.probabilities, LABELS, rows.predicted)
    by_argmax = classification_metrics(rows.y, rows.probabilities, LABELS)

    assert by_costs["recall/malignant"] > by_argmax["recall/malignant"]
    assert by_costs["log_loss"] == by_argmax["log_loss"]


def test_the_card_measures_the_sets_of_each_class():
    rows = decided()

    card = "\n".join(rows.section(LABELS))

    covered = [float(number) for number in re.findall(r"\| [\d,]+ \| (\d\.\d{3}) \|", card)]
    assert len(covered) == 3
    assert min(covered) >= 0.9
    assert r"| be\|nign | 300 |" in card
    assert "in every set" not in card


def test_a_class_with_too_few_rows_is_named():
    card = "\n".join(decided(rare=8).section(LABELS))

    assert "fewer than 9 training rows is in every set of coverage 0.9: malignant (8 rows)." in card
