import numpy as np
import pytest

from proto_model.values import Rule, fault_text
from tests.proto_model.carriers import FEATURES


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("whole", "old", 'the string "old" given, a whole number expected, such as 40'),
        ("whole", " 37.50 ", "37.5 given, a whole number expected, such as 40"),
        ("whole", 1e39, "1e+39 given, a number between -3.4e+38 and 3.4e+38 expected"),
        ("number", 10**400, "inf given, a number between -3.4e+38 and 3.4e+38 expected"),
        ("number", "x" * 90, f'the string "{"x" * 38}… given, a number expected, such as 5'),
        ("number", [5], "list [5] given, a number expected, such as 5"),
        ("truth", "2.0", "2 given, true or false expected"),
        ("required job", None, 'no value given, a string expected, such as "nurse"'),
        ("required job", " ?", 'no value ("?") given, a string expected, such as "nurse"'),
        ("required job", np.False_, 'the boolean false given, a string expected, such as "nurse"'),
    ],
)
def test_one_wording_of_a_fault(name, value, words):
    _, fault = Rule(FEATURES[name]).read(value)

    assert fault_text(value, FEATURES[name], fault) == words
