from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from proto_model.training.evaluation.group_metrics import metrics_by_group
from proto_model.training.metrics import (
    CLASS_METRICS,
    METRICS,
    classification_metrics,
    metric_suffixes,
    permutation_importance,
)


def probabilities_of(predicted, n_classes, certainty=0.9):
    probabilities = np.full((len(predicted), n_classes), (1 - certainty) / max(n_classes - 1, 1))
    probabilities[np.arange(len(predicted)), predicted] = certainty
    return probabilities


def test_figures_of_a_confusion_matrix_counted_by_hand():
    y = np.repeat([0, 1], [10, 5])
    predicted = np.r_[np.repeat([0, 1], [8, 2]), np.repeat([0, 1], [1, 4])]

    metrics = classification_metrics(y, probabilities_of(predicted, 2), ["no", "yes"])

    assert metrics["balanced_accuracy"] == pytest.approx((0.8 + 0.8) / 2)
    assert metrics["accuracy"] == pytest.approx(12 / 15)
    assert metrics["precision/yes"] == pytest.approx(4 / 6)
    assert metrics["recall/no"] == pytest.approx(0.8)
    assert metrics["f1/yes"] == pytest.approx(8 / 11)
    assert metrics["f2/yes"] == pytest.approx(5 * 4 / (5 * 4 + 4 * 1 + 2))
    assert metrics["brier"] == pytest.approx((12 * 0.01 + 3 * 0.81) / 15)
    assert metrics["log_loss"] == pytest.approx(-(12 * np.log(0.9) + 3 * np.log(0.1)) / 15)


def test_balanced_accuracy_comes_first():
    metrics = classification_metrics(np.array([0, 1]), probabilities_of(np.array([0, 1]), 2), [False, True])

    assert next(iter(metrics)) == "balanced_accuracy"


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_agrees_with_scikit_learn_when_every_class_is_there(n_classes):
    generator = np.random.default_rng(n_classes)
    y = np.r_[np.arange(n_classes), generator.integers(0, n_classes, 200)]
    probabilities = generator.dirichlet(np.ones(n_classes), len(y))

    metrics = classification_metrics(y, probabilities, range(n_classes))

    predicted = probabilities.argmax(axis=1)
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert metrics["f1_macro"] == pytest.approx(f1_score(y, predicted, average="macro"))
    ranking = (
        roc_auc_score(y, probabilities[:, 1])
        if n_classes == 2
        else roc_auc_score(y, probabilities, multi_class="ovr")
    )
    assert metrics["roc_auc"] == pytest.approx(ranking)


def test_a_class_without_test_rows_neither_counts_nor_hurts():
    y = np.array([0, 0, 1, 1])
    predicted = np.array([0, 2, 1, 1])

    metrics = classification_metrics(y, probabilities_of(predicted, 3), ["a", "b", "c"])

    assert metrics["balanced_accuracy"] == pytest.approx(0.75)
    assert "recall/c" not in metrics
    assert np.isfinite(list(metrics.values())).all()


@pytest.mark.parametrize("only", [0, 1])
def test_rows_of_one_class_leave_out_what_is_not_defined(only):
    y = np.full(4, only)

    metrics = classification_metrics(y, probabilities_of(np.array([0, 0, 1, 1]), 2), ["a", "b"])

    assert metrics["balanced_accuracy"] == 0.5
    assert "roc_auc" not in metrics
    assert np.isfinite(list(metrics.values())).all()


@pytest.mark.parametrize(("y", "shape"), [(np.array([], dtype=int), (0, 2)), (np.array([0, 1]), (2, 3))])
def test_shapes_that_do_not_fit_are_refused(y, shape):
    with pytest.raises(ValueError, match=r"probabilities of shape"):
        classification_metrics(y, np.zeros(shape), ["a", "b"])


@given(st.lists(st.text() | st.integers() | st.booleans() | st.floats(), min_size=1, max_size=8))
def test_any_labels_give_different_names_that_mlflow_takes(labels):
    suffixes = metric_suffixes(labels)

    for suffix in suffixes:
        _validate_metric_name(f"test_average_precision/{suffix}")
    assert len({suffix.casefold() for suffix in suffixes}) == len(labels)


X = pd.DataFrame(
    {
        "sex": np.array(["f", "f", "f", "m", "m", None], dtype=object),
        "same": np.array(["x"] * 6, dtype=object),
        "id": np.arange(6.0),
    }
)
Y = np.array([0, 1, 1, 0, 1, 1])
PREDICTED = np.array([0, 1, 0, 1, 1, 1])


def test_figures_of_groups_counted_by_hand():
    table = metrics_by_group(X[["sex"]], Y, PREDICTED, 2).set_index("group")

    assert table.loc["f", "rows"] == 3
    assert table.loc["f", "accuracy"] == pytest.approx(2 / 3)
    assert table.loc["f", "balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert table.loc["f", "predicted_positive"] == pytest.approx(1 / 3)
    assert table.loc["m", "false_positive_rate"] == 1.0
    assert table.loc["(missing)", "true_positive_rate"] == 1.0
    assert np.isnan(table.loc["(missing)", "false_positive_rate"])


def test_columns_with_one_value_or_too_many_are_passed_over():
    wide = pd.DataFrame({"id": [f"row {i}" for i in range(40)]}, dtype=object)
    flags = np.arange(40) % 2

    assert metrics_by_group(X[["same"]], Y, PREDICTED, 2).empty
    assert metrics_by_group(wide, flags, flags, 2).empty


def test_booleans_coded_as_numbers_are_groups_and_many_classes_have_fewer_columns():
    flags = pd.DataFrame({"flag": [0.0, 1.0, np.nan, 1.0]})
    y = np.array([0, 1, 2, 1])

    table = metrics_by_group(flags, y, y, 3)

    assert list(table["group"]) == ["0.0", "1.0", "(missing)"]
    assert "true_positive_rate" not in table.columns
    assert (table["accuracy"] == 1).all()


def threshold_model(matrix):
    """Looks at the second column alone."""
    positive = np.where(matrix[:, 1] > 0, 0.9, 0.2)
    return np.column_stack([1 - positive, positive])


def test_only_the_feature_that_decides_is_important():
    matrix = np.random.default_rng(1).normal(size=(400, 3))
    y = (matrix[:, 1] > 0).astype(int)

    table = permutation_importance(threshold_model, matrix, y, ["a", "b", "c"], random_state=0)

    assert table["feature"].tolist() == ["b", "a", "c"]
    assert 0.3 < table["importance"][0] < 0.4  # half of the rows change sides, 0.7 between them
    assert (table["importance"][1:].abs() < 1e-12).all()


def test_rare_classes_weigh_as_much_as_common_ones():
    matrix = np.where(np.arange(1000) < 990, -1.0, 1.0).reshape(-1, 1)
    y = (matrix[:, 0] > 0).astype(int)

    table = permutation_importance(
        lambda rows: threshold_model(np.hstack([rows, rows])), matrix, y, ["a"], random_state=0
    )

    assert table["importance"][0] > 0.3


def test_cost_is_bounded_and_the_same_seed_gives_the_same_table():
    matrix = np.random.default_rng(1).normal(size=(5000, 2))
    y = (matrix[:, 1] > 0).astype(int)
    calls = []

    def counting(rows):
        calls.append(len(rows))
        return threshold_model(rows)

    first, second = (
        permutation_importance(counting, matrix, y, ["a", "b"], random_state=3, n_repeats=2, max_rows=100)
        for _ in range(2)
    )

    assert calls == [100, 200, 200] * 2
    assert first.equals(second)


def test_the_table_given_is_not_changed():
    matrix = np.random.default_rng(1).normal(size=(50, 2))
    before = matrix.copy()

    permutation_importance(threshold_model, matrix, np.arange(50) % 2, ["a", "b"], random_state=0)

    assert np.array_equal(matrix, before)


def test_the_documents_list_every_metric():
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")

    for metric in METRICS:
        assert f"| `test_{metric.name}` | {metric.described} |" in page
    for metric in CLASS_METRICS:
        assert f"| `test_{metric.name}/<class>` | {metric.described} of one class |" in page
