import json
from dataclasses import replace

import numpy as np
import pytest

from proto_model.dictionary import Entry
from proto_model.explanation import make_explainer
from proto_model.explanation.background import Background
from proto_model.explanation.explanation import MAX_BYTES
from proto_model.explanation.figure import explanation_figure
from proto_model.explanation.rule import Premise, Rule
from proto_model.parameters import Parameters
from proto_model.table import decode

ENTRIES = {
    "income": Entry(description="A year", unit="k€", decode=(("0", "none"),)),
    "children": Entry(decode=tuple((str(n), f"{n} of them") for n in range(7))),
    "owner": Entry(decode=(("false", "rents"), ("true", "owns"))),
    "colour": Entry(decode=(("blue", "B"), ("green", "other"), ("red", "other"))),
    "granted": Entry(decode=(("no", "turned down"), ("yes", "granted"))),
}


@pytest.fixture(scope="module")
def told(schema):
    return schema.with_dictionary(ENTRIES)


@pytest.fixture(scope="module")
def background(told, rows):
    return Background.from_matrix(told, rows)


@pytest.mark.parametrize(
    ("premise", "text"),
    [
        (Premise(0, above=29.5, at_most=41.0), "29.5 < income (k€) <= 41"),
        (Premise(0, at_most=3.0, or_missing=True), "income (k€) <= 3 (none) or missing"),
        (Premise(0), "income (k€) is known"),
        (Premise(1, above=1.5, at_most=3.0), "1.5 < children <= 3 (2 of them or 3 of them)"),
        (Premise(1, above=0.0), "children > 0"),  # six meanings are too many for a sentence
        (Premise(1, above=4.5), "children > 4.5 (5 of them or 6 of them)"),
        (Premise(2, codes=(1,)), "owner is owns"),
        (Premise(3, codes=(0, 2)), "colour is B or other (red)"),
        (Premise(3, codes=(), or_missing=True), "colour is missing"),
        (Premise(4, above=50.0), "age > 50"),
    ],
)
def test_a_premise_has_units_and_meanings_and_keeps_its_stored_values(
    background, schema, rows, premise, text
):
    plain = Background.from_matrix(schema, rows)

    assert premise.text(background) == text
    assert premise.to_dict(background) == premise.to_dict(plain)
    assert Rule((premise,), 1).text(background) == f"IF {text} THEN granted"
    assert Rule((premise,), 0).text(plain).endswith("THEN no")


def test_only_texts_of_an_explanation_differ(schema, told, rows, model):
    x = np.array([[5.0, 0, 0, 1, 30]])
    explained = [
        make_explainer("lore", one, rows, model).explain(x, Parameters())[0] for one in (schema, told)
    ]
    plain, worded = (json.loads(json.dumps(one)) for one in explained)

    texts = [one["rule"].pop("text") for one in (plain, worded)]
    texts += [found.pop("text") for one in (plain, worded) for found in one["counterfactuals"]]
    assert plain == worded
    assert texts[0].endswith("THEN no")
    assert texts[1].endswith("THEN turned down")
    assert any("income (k€) were" in text for text in texts)
    assert not any("instead of 0 " in text for text in texts[2 + len(plain["counterfactuals"]) :])


def test_an_explanation_stays_short_whatever_the_dictionary_says(schema, rows, model):
    endless = {
        name: Entry(unit="m" * 20_000, decode=(("false", "x" * 30_000), ("true", "y" * 30_000)))
        for name in (*schema.feature_names, schema.target)
    }
    x = np.array([[5.0, 0, 0, 1, 30]])
    plain, worded = (
        make_explainer("lore", one, rows, model).explain(x, Parameters())[0]
        for one in (schema, schema.with_dictionary(endless))
    )

    assert len(json.dumps(worded, ensure_ascii=False).encode()) <= MAX_BYTES
    *notes, note = worded.pop("notes")
    assert note == "Texts have no units and meanings of the data dictionary, to limit the size."
    assert notes == plain.pop("notes")
    assert worded == plain


def test_a_figure_is_labelled_with_units_and_meanings(told, rows, model):
    x = np.array([[5.0, 0, 0, 1, 30]])
    (explanation,) = make_explainer("lore", told, rows, model).explain(x, Parameters())

    figure = explanation_figure(explanation, told, decode(x, told).iloc[0].to_dict())

    (axes,) = figure.axes
    assert "income (k€)" in [label.get_text() for label in axes.get_yticklabels()]
    assert axes.get_title("left").startswith("turned down (")


def test_texts_are_unfolded_beside_columns_that_are_told(told, rows, model):
    note = replace(told.features[2], name="note", type="text", terms=("late",), minimum=None, maximum=None)
    schema = replace(told, features=(*told.features, replace(note, median=None)))
    matrix = np.column_stack([rows, np.arange(len(rows)) % 2])

    explainer = make_explainer("lore", schema, matrix, lambda X: model(X[:, :5]))
    (explanation,) = explainer.explain(np.array([[5.0, 0, 0, 1, 30, 1]]), Parameters())

    assert "income (k€)" in explanation["rule"]["text"]
