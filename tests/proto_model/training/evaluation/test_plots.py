import numpy as np
import pandas as pd
import pytest
from matplotlib import _pylab_helpers
from matplotlib.image import imread

from proto_model.plotting import save
from proto_model.training.evaluation.plots import (
    _even_bins,
    calibration_plot,
    confusion_matrix_plot,
    importance_plot,
    precision_recall_plot,
    roc_plot,
    search_plot,
)

LONG = "a label $that_ goes on^ and on, past every margin there is\nand over two lines, no. "


def predictions(n_classes, n_rows=120):
    generator = np.random.default_rng(n_classes)
    y = generator.integers(0, n_classes, n_rows)
    return y, generator.dirichlet(np.ones(n_classes), n_rows)


def drawn(figure, tmp_path):
    save(figure, tmp_path / "plot.png")
    pixels = imread(tmp_path / "plot.png")
    assert 200 < pixels.shape[0] < 2500
    assert 200 < pixels.shape[1] < 2500
    assert pixels[..., :3].std() > 0.01
    assert not _pylab_helpers.Gcf.figs, "a figure was left with pyplot"
    return figure


@pytest.mark.parametrize("n_classes", [2, 3, 10, 30])
def test_every_plot_of_predictions_can_be_drawn_with_long_labels(n_classes, tmp_path):
    y, probabilities = predictions(n_classes)
    labels = [f"{LONG}{index}" for index in range(n_classes)]

    for plot in (roc_plot, precision_recall_plot, calibration_plot):
        drawn(plot(y, probabilities, labels), tmp_path)
    drawn(confusion_matrix_plot(y, probabilities.argmax(axis=1), labels), tmp_path)


def test_a_class_without_rows_has_no_curve(tmp_path):
    y, probabilities = predictions(3)
    y[y == 2] = 0

    figure = drawn(roc_plot(y, probabilities, ["a", "b", "gone"]), tmp_path)

    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any(name.startswith("a ") for name in names)
    assert not any(name.startswith("gone") for name in names)


def test_rows_of_one_class_can_be_drawn_too(tmp_path):
    _, probabilities = predictions(2, n_rows=5)
    y = np.zeros(5, dtype=int)

    for plot in (roc_plot, precision_recall_plot, calibration_plot):
        drawn(plot(y, probabilities, ["a", "b"]), tmp_path)


def test_cells_of_the_confusion_matrix_show_the_counts():
    figure = confusion_matrix_plot(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["a", "b"])

    assert [text.get_text() for text in figure.axes[0].texts] == ["2\n67%", "1\n33%", "0\n0%", "1\n100%"]


@pytest.mark.parametrize("n_features", [1, 5, 64])
def test_importances_of_any_number_of_features(n_features, tmp_path):
    table = pd.DataFrame(
        {"feature": [LONG] * n_features, "importance": np.linspace(0.1, -0.01, n_features), "std": 0.01}
    )

    figure = drawn(importance_plot(table), tmp_path)

    assert len(figure.axes[0].patches) == min(n_features, 20)


def test_a_search_with_one_candidate_and_with_failed_ones(tmp_path):
    drawn(search_plot(np.array([0.9]), np.array([0.01])), tmp_path)
    drawn(search_plot(np.array([0.8, 0.9, 0.7]), np.array([0.1, 0.1, 0.1])), tmp_path)


@pytest.mark.parametrize("n_rows", [12, 36, 600])
def test_points_of_the_calibration_plot_stand_for_twenty_rows_or_for_all(n_rows):
    generator = np.random.default_rng(n_rows)
    stated = generator.beta(0.3, 0.3, n_rows).round(2)
    y = (generator.random(n_rows) < stated).astype(int)

    sizes = np.bincount(_even_bins(stated))
    figure = calibration_plot(y, np.column_stack([1 - stated, stated]), ["a", "b"])

    assert sizes.sum() == n_rows
    assert sizes.min() >= min(20, n_rows)
    assert len(sizes) <= 10
    points = figure.axes[0].lines[1].get_xdata()
    assert len(points) == len(sizes)
    assert (np.diff(points) > 0).all()


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_no_axis_of_a_share_goes_beyond_one(n_classes):
    y, probabilities = predictions(n_classes)
    labels = list(range(n_classes))
    scores = np.array([0.99, 0.97])

    for figure in (
        *(plot(y, probabilities, labels) for plot in (roc_plot, precision_recall_plot, calibration_plot)),
        search_plot(scores, np.array([0.05, 0.01])),
    ):
        figure.draw_without_rendering()
        low, high = figure.axes[0].get_ylim()
        assert low >= 0
        assert high <= 1
