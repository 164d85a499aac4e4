import dataclasses
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.values import (
    LARGEST,
    MISSING_MARKERS,
    SPACES,
    Fault,
    Rule,
    RuleBook,
    is_code,
    is_number,
)
from tests.proto_model.carriers import CASES, FEATURES, code_of
from tests.proto_model.carriers import SCHEMA as CASES_SCHEMA

VERDICTS = ("number", "boolean", "category", "date", "terms", "unseen", "missing", "rejected")


def verdict(case):
    """Code and fault of a case, and whether its value counts as missing."""
    if "rejected" in case:
        return np.nan, Fault[case["rejected"].upper()]
    if "category" in case:
        return float(FEATURES[case["feature"]].categories.index(case["category"])), 0
    if "date" in case or "terms" in case:
        value = case["date"] if "date" in case else " ".join(case["terms"])
        return code_of(FEATURES[case["feature"]], value), 0
    return float(case.get("number", case.get("boolean", np.nan))), 0


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: f"{case['feature']}: {case['value']!r}")
def test_every_case_has_its_verdict(case):
    code, fault = Rule(FEATURES[case["feature"]]).read(case["value"])

    assert sum(key in case for key in VERDICTS) == 1
    expected_code, expected_fault = verdict(case)
    assert fault == expected_fault
    if not fault:
        assert np.float64(code).tobytes() == np.float64(expected_code).tobytes()
    # A feature that may not be missing tells missing values from categories that are unseen.
    required = Rule(dataclasses.replace(FEATURES[case["feature"]], nullable=False))
    if "missing" in case or "unseen" in case:
        assert required.read(case["value"])[1] == (Fault.MISSING if "missing" in case else 0)


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize("name", FEATURES)
@given(
    values=st.lists(
        st.one_of(
            st.sampled_from([case["value"] for case in CASES["cases"]]),
            st.none(),
            st.booleans(),
            st.integers(-2, 2),
            st.floats(),
        ),
        max_size=4,
    )
)
def test_a_column_is_read_as_its_values_are(name, values):
    rule = Rule(FEATURES[name])
    one_by_one = [rule.read(value) for value in values]
    columns = [values, tuple(values), objects(values)]
    if all(isinstance(value, str) for value in values):
        columns.append(np.array(values, dtype=str))
    if all(isinstance(value, float) for value in values):
        columns.append(np.array(values, dtype=float))

    for column in columns:
        codes, faults = rule.read_column(column)
        assert faults.tolist() == [fault for _, fault in one_by_one]
        assert_array_equal(codes[faults == 0], [code for code, fault in one_by_one if not fault])


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [0.0, 1.0, -0.0, 0.5, 2.0, np.nan, np.inf, -np.inf, LARGEST, 3.402823466385289e38]
            ),
            min_size=9,
            max_size=9,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_matrix_is_accepted_if_every_number_is(rows):
    book = RuleBook(CASES_SCHEMA)
    n_numbers = sum(rule.takes_numbers for rule in book.rules)
    matrix = np.zeros((len(rows), len(book.rules)))  # codes of categories, dates and texts
    matrix[:, :n_numbers] = np.array(rows)[:, :n_numbers]

    faults = [rule.number_faults(matrix[:, place]).any() for place, rule in enumerate(book.rules[:n_numbers])]
    assert book.accepts(matrix) == (not any(faults))


def test_what_is_trimmed_is_what_unicode_calls_white_space():
    # Python's own strip() takes four separators more.
    every = {chr(code) for code in range(0x110000) if chr(code).isspace()}
    assert set(SPACES) == every - set("\x1c\x1d\x1e\x1f")


def test_numpy_decimals_and_other_numbers_are_numbers():
    double, long = Rule(FEATURES["number"]), Rule(FEATURES["whole"])

    for value in (np.float32(5), np.int8(5), np.uint64(5), np.float16(5), Decimal("5.00")):
        assert double.read(value) == long.read(value) == (5.0, 0)
    assert double.read(Decimal("1e400"))[1] == double.read(-(10**400))[1] == Fault.TOO_LARGE
    assert double.read(np.True_)[1] == double.read(b"5")[1] == double.read(5j)[1] == Fault.NOT_A_NUMBER
    for value in (np.float32("nan"), Decimal("nan"), Decimal("snan")):
        assert Rule(FEATURES["required number"]).read(value)[1] == Fault.MISSING
        assert Rule(FEATURES["required job"]).read(value)[1] == Fault.MISSING


@pytest.mark.parametrize("text", ["-1.5e3", "0", "0.5", ".5", "5.", "007", "-01", "+5", "inf", "-Infinity"])
def test_numbers_are_told_from_text(text):
    assert is_number(text)
    assert is_code(text) == (text in ("007", "-01"))


@pytest.mark.parametrize("text", ["1_000", "1,5", "nan", "0x1F", "1 2", "", ".", "e5", "5e", "\uff15", "in"])
def test_words_are_no_numbers(text):
    assert not is_number(text)


def test_a_marker_is_never_a_number():
    assert not any(map(is_number, MISSING_MARKERS))


def test_the_rule_book_loads_neither_pandas_nor_pyarrow_nor_sklearn():
    code = (
        "import sys; import proto_model.values, proto_model.table; "
        "print(sorted({'pandas', 'pyarrow', 'sklearn', 'mlflow'} & sys.modules.keys()))"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_long_text_of_digits_that_ends_wrong_is_refused_at_once():
    # Quadratic time would take hours here.
    for text in ("1" * 1_000_000 + "x", "1." + "1" * 1_000_000 + "x", "1e" + "1" * 1_000_000 + "x"):
        assert Rule(FEATURES["number"]).read(text)[1] == Fault.NOT_A_NUMBER
