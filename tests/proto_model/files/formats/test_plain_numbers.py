from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from proto_model.files.formats.plain_numbers import parse_numbers

BOTH = np.array([0, 1], dtype=np.int32)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)


def parsed(text: str, places: NDArray[np.int32] = BOTH, n_rows: int = 1) -> NDArray[np.float64] | None:
    return parse_numbers(bytearray(text.encode()), places, n_rows, int(places.max()) + 1)


def one(text: str) -> float | None:
    """A single field, read between two others."""
    row = parsed(f"1,{text},2\n", np.array([0, 1, 2], dtype=np.int32))
    return None if row is None else float(row[0, 1])


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@given(value=DOUBLES | st.floats(-1e6, 1e6), form=st.sampled_from(["r", ".17g", ".15g", ".3e", ".6f"]))
@settings(max_examples=500, deadline=None)
def test_a_number_is_the_one_that_python_reads_or_left_to_another_parser(value: float, form: str) -> None:
    text = repr(value) if form == "r" else format(value, form)

    read = one(text)

    assert read is None or bits(read) == bits(float(text))


@given(value=st.floats(1e-12, 1e12), is_negative=st.booleans())
@settings(max_examples=300, deadline=None)
def test_everyday_numbers_are_never_left_to_another_parser(value: float, is_negative: bool) -> None:
    text = repr(-value if is_negative else value)

    read = one(text)

    assert read is not None
    assert bits(read) == bits(float(text))


@given(whole=st.integers(2**53, 2**54), power=st.integers(-4, 9))
@settings(max_examples=300, deadline=None)
def test_half_way_between_two_doubles_is_rounded_to_the_even_one(whole: int, power: int) -> None:
    text = f"{2 * whole + 1}e{power}"

    read = one(text)

    assert read is None or bits(read) == bits(float(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("007", 7.0),
        ("1E3", 1000.0),
        ("25e-1", 2.5),
        ("1e+2", 100.0),
        ("9007199254740993", 9007199254740992.0),
        ("12345678.12345678", 12345678.12345678),
        ("0.00000000000000000001", 1e-20),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("2.2250738585072014e-308", 2.2250738585072014e-308),
    ],
)
def test_numbers_by_hand(text: str, value: float) -> None:
    read = one(text)

    assert read is not None
    assert bits(read) == bits(value)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "-",
            ".",
            "1.",
            "1e",
            "1e+",
            "e5",
            "-e5",
            "+1",
            " 1",
            "1 ",
            "--1",
            "1-",
            "1.2.3",
            "1_0",
            "0x10",
            "12a",
        ),
        *("nan", "inf", "NA", "?", '"1"', "true", "\u0661", "\0", "1e400", "1e-320", "1e99999999", "9" * 20),
        "1" * 40,
    ],
)
def test_what_is_not_plain_is_left_to_another_parser(text: str) -> None:
    assert one(text) is None


def test_an_empty_field_is_a_missing_value() -> None:
    assert_array_equal(parsed(",\n1,\n,2", n_rows=3), [[np.nan, np.nan], [1, np.nan], [np.nan, 2]])


def test_lines_may_end_in_cr_lf_and_the_last_one_in_nothing() -> None:
    assert_array_equal(parsed("1,2\r\n3,4\r\n5,", n_rows=3), [[1, 2], [3, 4], [5, np.nan]])
    assert parsed("1,2\r3,4\n") is None


@pytest.mark.parametrize(
    "text", ["1,2,3\n", "1\n", "1,2\n3\n", "1,2\n3,4,5\n", "1,2\n\n", "\n1,2\n", "", "1"]
)
def test_records_of_another_length_are_left_to_another_parser(text: str) -> None:
    assert parsed(text, n_rows=max(1, text.count("\n"))) is None


def test_fields_can_be_passed_over_and_columns_stand_in_any_order() -> None:
    places = np.array([2, -1, 0, -1], dtype=np.int32)
    long = "x" * 100

    rows = parsed(f"1,{long},2,\n3,,4,{long}\n", places, n_rows=2)

    assert rows is not None
    assert_array_equal(rows[:, [2, 0]], [[1, 2], [3, 4]])


def test_the_block_is_left_as_it_was() -> None:
    block = bytearray(b"1,2\n3,x\n")

    assert parse_numbers(block, BOTH, 2, 2) is None

    assert block == b"1,2\n3,x\n"
