from copy import deepcopy

import pytest

from mapper import ModelSchema
from mapper.cli.tables import explanation_text, fitted, prediction_table, schema_table
from tests.mapper.conftest import EXPLANATION


def test_an_explanation_tells_what_its_fidelity_means():
    """With two classes, both are one number; versions logged before tell only one."""
    many = {**deepcopy(EXPLANATION), "fidelity": 0.38, "class_fidelity": 0.73}
    two = {**many, "class_fidelity": 0.38}
    older = {name: value for name, value in many.items() if name != "class_fidelity"}

    texts = [
        explanation_text(0, {"prediction": "a", "explanation": found}).splitlines()
        for found in (many, two, older)
    ]
    measures = [[line.strip() for line in lines if "fidelity" in line] for lines in texts]

    meaning = "how well a small tree that imitates the model nearby tells "
    meaning += f"{many['prediction']} from everything else"
    assert measures[0][0].endswith("fidelity 0.38, class fidelity 0.73)")
    assert measures[0][1:] == [f"class fidelity: {meaning}"]
    assert measures[1][0].endswith("fidelity 0.38)")
    assert measures[1][1:] == [f"fidelity: {meaning}"]
    assert len(measures[2]) == 1


@pytest.mark.parametrize("held", [["sex", "age"], []])
def test_what_is_held_fixed_and_changes_that_are_exceptions_are_told(held):
    explanation = {**deepcopy(EXPLANATION), "held_fixed": held}
    explanation["counterfactuals"][0]["changes"][0]["against"] = bool(held)

    text = explanation_text(0, {"prediction": "a", "explanation": explanation})

    assert ("held fixed, as sensitive: sex, age" in text) == bool(held)
    assert ("(an exception of the model)" in text) == bool(held)


def content(classes):
    return {
        "schema_version": "1.0",
        "model_name": "flowers",
        "target": {"name": "species", "type": "string"},
        "classes": classes,
        "features": [
            {"name": "petal", "type": "double", "nullable": False, "minimum": 0, "maximum": 9, "median": 3}
        ],
    }


def test_a_narrow_terminal_breaks_no_word_and_tells_the_classes_apart():
    classes = ["setosa of the north", "versicolor of the east", "virginica of the south"]
    schema = ModelSchema.from_dict(content(classes))
    shares = dict(zip(classes, (0.125, 0.75, 0.125), strict=True))
    rows = [{"prediction": classes[1], "probability": 0.75, "probabilities": shares}] * 2

    wide, narrow = (prediction_table(rows, 0, schema, width) for width in (None, 80))

    assert all(f"p({name})" in wide.splitlines()[0] for name in classes)
    assert max(map(len, wide.splitlines())) > 80
    assert max(map(len, narrow.splitlines())) <= 80
    words = set(" ".join(narrow.split()).split(" "))
    assert set("setosa versicolor virginica north=0.125, east=0.750, south=0.125".split()) <= words
    assert max(map(len, schema_table(schema, 60).splitlines()[2:])) <= 60


def test_sentences_are_broken_between_words():
    text = "row 0: a\n  because\n    IF mean area <= 760 AND mean concave points <= 0.066 THEN benign"

    assert fitted(text, None) == text
    assert fitted(text, 40).splitlines() == [
        "row 0: a",
        "  because",
        "    IF mean area <= 760 AND mean concave",
        "        points <= 0.066 THEN benign",
    ]
