import dataclasses
import io

import matplotlib.image
import numpy as np
import pytest

from proto_model.explanation import make_explainer
from proto_model.explanation.figure import example_figures, explanation_figure
from proto_model.parameters import Parameters
from proto_model.table import decode


def texts(figure):
    (axes,) = figure.axes
    tracks = [label.get_text() for label in axes.get_yticklabels()]
    return tracks, axes.get_title("left"), axes.get_xlabel(), {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("missing", [False, True])
def test_the_figure_shows_value_rule_and_flips(explainer, schema, rows, tmp_path, missing):
    x = np.array([[5.0, 0, 0, 1, 30]])
    if missing:
        x[0, [0, 3]] = np.nan
    (explanation,) = explainer.explain(x, Parameters())

    figure = explanation_figure(explanation, schema, decode(x, schema).iloc[0].to_dict(), "Row 7")
    figure.savefig(tmp_path / "explanation.png")

    tracks, title, sentences, labels = texts(figure)
    shown = {p["feature"] for p in explanation["rule"]["premises"]}
    shown |= {change["feature"] for c in explanation["counterfactuals"] for change in c["changes"]}
    assert set(tracks) == shown
    assert title.startswith("Row 7: no (")
    assert sentences.replace("\n    ", " ").startswith(explanation["rule"]["text"])
    assert ("missing" if missing else "5") in labels
    assert (tmp_path / "explanation.png").stat().st_size > 5000


def test_dollars_and_endless_names_are_drawn_as_they_are(schema, rows, model, tmp_path):
    features = tuple(
        dataclasses.replace(feature, name=f"$_{{{feature.name}$" + "x" * 5000) for feature in schema.features
    )
    schema = dataclasses.replace(schema, features=features, classes=("$x_{y$", "L" * 5000))
    explainer = make_explainer("lore", schema, rows, model)

    for figure in example_figures(explainer, schema, rows, model(rows)).values():
        figure.savefig(tmp_path / "explanation.png")
        assert matplotlib.image.imread(tmp_path / "explanation.png").shape[0] < 2500


def test_a_constant_model_has_a_figure_too(schema, rows, constant_model):
    (explanation,) = make_explainer("lore", schema, rows, constant_model).explain(rows[:1], Parameters())

    figure = explanation_figure(explanation, schema, decode(rows[:1], schema).iloc[0].to_dict())

    tracks, title, sentences, _ = texts(figure)
    assert tracks == []
    assert title.startswith("no (100%)")
    assert "same class" in sentences


def test_there_is_an_example_for_each_class_that_is_predicted(explainer, schema, model, rows):
    probabilities = model(rows)

    figures = example_figures(explainer, schema, rows, probabilities)

    assert list(figures) == ["no", "yes"]
    for label, figure in figures.items():
        _, title, _, _ = texts(figure)
        assert f": {label} (" in title
    only = probabilities.argmax(axis=1) == 0
    assert list(example_figures(explainer, schema, rows[only], probabilities[only])) == ["no"]


def test_the_sentences_keep_their_distance_from_the_last_band(explainer, schema, rows):
    (explanation,) = explainer.explain(rows[:1], Parameters())
    figure = explanation_figure(explanation, schema, decode(rows[:1], schema).iloc[0].to_dict())
    figure.savefig(io.BytesIO())  # which lays it out

    (axes,) = figure.axes
    lowest = min(text.get_window_extent().y0 for text in axes.texts)
    sentences = axes.xaxis.label.get_window_extent()
    line = sentences.height / (1 + axes.get_xlabel().count("\n"))
    assert lowest - sentences.y1 > line / 2
