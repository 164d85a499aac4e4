from copy import deepcopy

import pytest

from mapper.cli.tables import explanation_text
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
