import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from rich.console import Console

from proto_model.plotting import save
from proto_model.training import leader_board
from proto_model.training.leader_board import Standing
from proto_model.training.metrics import METRICS
from proto_model.training.selection.result import FoldScores, Reference

FOLDS = np.array([0.01, -0.01, 0.02, -0.02, 0.0])


def fold_scores(log_loss, balanced_accuracy):
    """Scores that differ from fold to fold, but alike for all."""
    scores = {metric.name: 0.5 + FOLDS for metric in METRICS}
    scores |= {"log_loss": log_loss + FOLDS, "balanced_accuracy": balanced_accuracy + FOLDS}
    return FoldScores(scores, np.full(5, 20.0))


def standing(variant, log_loss=0.3, balanced_accuracy=0.9, test=0.5, **others):
    tests = {"balanced_accuracy": test, "log_loss": 0.4, "recall/a": 0.1}
    folds = fold_scores(log_loss, balanced_accuracy)
    facts = {"metric": "log_loss", "folds": folds, "n_nodes": 100.0} | others
    return Standing(variant, f"run-{variant}", balanced_accuracy, 0.01, tests, 1.0, **facts)


LINEAR = Reference("linear model", False, fold_scores(0.25, 0.8), {"log_loss": 0.2}, 0.1)
BOOSTING = Reference(
    "gradient boosting", True, fold_scores(0.2, 0.95), {"log_loss": 0.1, "balanced_accuracy": 0.97}, 0.5
)


def test_cross_validation_ranks_by_the_metric_and_the_test_rows_do_not():
    ranked = leader_board.ranked([standing("a", 0.4, 0.99, test=0.99), standing("b", 0.3, 0.7, test=0.1)])

    assert [entry.variant for entry in ranked] == ["b", "a"]


def test_the_smallest_of_those_that_cannot_be_told_from_the_best_is_first():
    noisy = FoldScores({metric.name: 0.301 + FOLDS[::-1] for metric in METRICS}, np.full(5, 20.0))

    ranked = leader_board.ranked(
        [standing("worse", 0.4), standing("large"), standing("small", folds=noisy, n_nodes=10.0)]
    )

    assert [entry.variant for entry in ranked] == ["small", "large", "worse"]
    assert "within one standard error of the best, and smaller" in leader_board.reasons(ranked)


def test_equal_scores_keep_their_order():
    ranked = leader_board.ranked([standing(name) for name in ("c", "a", "b")])

    assert [entry.variant for entry in ranked] == ["c", "a", "b"]


def test_the_board_says_where_another_metric_would_have_chosen_otherwise():
    calibrated, balanced = standing("calibrated", 0.3, 0.7), standing("balanced", 0.4, 0.8)

    said = leader_board.reasons(leader_board.ranked([balanced, calibrated]))

    assert said.startswith("calibrated is chosen for its log loss in cross-validation.")
    assert said.endswith(" balanced is better by balanced accuracy (0.8000 against 0.7000).")
    agreed = leader_board.reasons([standing("a", 0.3, 0.9), standing("b", 0.4, 0.8)])
    assert agreed.endswith("The other metrics agree.")


def test_the_board_says_what_balanced_accuracy_is_of_where_costs_decide():
    plain, weighed = standing("a"), standing("b", decides=", deciding by costs")

    assert "Balanced accuracy is that of decisions" in leader_board.reasons([plain, weighed])
    assert "decisions" not in leader_board.reasons([plain, plain])


def test_the_frame_leaves_out_figures_of_single_classes_and_marks_references():
    beside = (LINEAR, BOOSTING)
    frame = leader_board.frame([standing("a", references=beside), standing("b", references=beside)])

    assert frame["rank"].tolist() == [1, 2, pd.NA, pd.NA]
    assert frame["kind"].tolist() == ["forest", "forest", "floor", "yardstick"]
    assert frame["cv_log_loss"].tolist() == pytest.approx([0.3, 0.3, 0.25, 0.2])
    assert {"test_balanced_accuracy", "cv_balanced_accuracy", "cv_std"} <= set(frame.columns)
    assert not any("/" in name for name in frame.columns)


def test_names_are_never_cut_and_undefined_figures_have_a_dash():
    board = [standing("random_forest_balanced", references=(LINEAR, BOOSTING))]
    out = io.StringIO()
    Console(file=out, width=120).print(leader_board.rich_table(board, "Leader board"))

    assert "random_forest_balanced" in out.getvalue()
    assert "gradient boosting " in out.getvalue()
    assert "(yardstick) " in out.getvalue()
    assert "± 0.0141 │" in out.getvalue()
    assert " - " in out.getvalue()
    text = leader_board.markdown(board)
    assert "| random_forest_balanced | 0.3000 ± 0.0141 | 0.9000 | 0.4000 | 0.5000 | - |" in text
    assert "| linear model (floor) | 0.2500 ± 0.0141 |" in text


@pytest.mark.parametrize(
    ("width", "left_out"), [(80, "accuracy"), (100, "macro F1"), (120, "fit"), (200, "")]
)
def test_the_table_fits_its_terminal_and_says_what_it_leaves_out(width, left_out):
    names = ["log_loss", "balanced_accuracy", "accuracy", "f1_macro", "roc_auc"]
    tests = {
        name + end: value for name in names for end, value in (("", 0.5), ("_low", 0.4), ("_high", 1.335))
    }
    entry = dataclasses.replace(
        standing("random_forest_balanced", references=(LINEAR, BOOSTING)), metrics=tests
    )
    out = io.StringIO()
    Console(file=out, width=width).print(leader_board.rich_table([entry], "Leader board", width))

    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    shown = [line for line in lines if line.startswith("│")]
    assert len(shown) == 6  # two lines each: nothing wraps
    assert "0.400-1.335" in shown[1]
    said = " ".join(out.getvalue().split()).partition("A wider terminal also shows ")[2]
    assert said.startswith(left_out) if left_out else not said


@pytest.mark.parametrize("n_variants", [1, 3])
@pytest.mark.parametrize("metric", ["log_loss", "balanced_accuracy"])
def test_the_figure_names_every_variant_and_reference(n_variants, metric, tmp_path):
    names = ["extra_trees", "random_forest", "random_forest_balanced"][:n_variants]
    board = [standing(name, metric=metric, references=(LINEAR, BOOSTING)) for name in names]
    figure = leader_board.figure(board)
    save(figure, tmp_path / "plot.png")

    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [*names, "linear model\n(floor)", "gradient boosting\n(yardstick)"]
    assert len(figure.axes) == (1 if metric == "balanced_accuracy" else 2)
    assert imread(tmp_path / "plot.png")[..., :3].std() > 0.01
