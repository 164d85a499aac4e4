import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from proto_model.training.evaluation import classification_metrics, metric_suffixes


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
