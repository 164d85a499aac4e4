"""Every entry point that reads values says of each what the rule book says, to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.proto_model.carriers import CARRIERS, CASES, FEATURES, Outcome
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proto_model.values import MISSING_MARKERS, SPACES, Fault, Rule, expected


def expected_of(case: dict[str, Any]) -> tuple[float, int]:
    """Code and fault of a case."""
    if "rejected" in case:
        return math.nan, Fault[case["rejected"].upper()]
    if "category" in case:
        categories = FEATURES[case["feature"]].categories
        assert categories is not None
        return float(categories.index(case["category"])), 0
    return float(case.get("number", case.get("boolean", math.nan))), 0


def check(name: str, outcome: Outcome, code: float, fault: int) -> None:
    """The outcome is this code, to the bit, or a message with the words for this fault."""
    if outcome is None:
        return
    if fault:
        assert isinstance(outcome, str), f"{outcome} accepted, {Fault(fault).name} expected"
        assert f"olumn {name!r}: " in outcome
        assert expected(FEATURES[name], fault) in outcome
        assert ("no value" in outcome) == (fault == Fault.MISSING)
    else:
        assert not isinstance(outcome, str), outcome
        assert np.float64(outcome).tobytes() == np.float64(code).tobytes()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_case_has_its_verdict(carrier: str) -> None:
    n_held = 0
    for case in CASES["cases"]:
        outcome = CARRIERS[carrier](case["feature"], case["value"])
        n_held += outcome is not None
        try:
            check(case["feature"], outcome, *expected_of(case))
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    assert n_held > (60 if "text" in carrier else 90)


NUMBERS = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.integers(-(10**42), 10**42),
    st.floats(),
    st.floats(-1e3, 1e3, width=16),
)
WORDS = st.sampled_from([*MISSING_MARKERS, "true", "False", "tRUE", "NAN", "nan(1)", "inf", "0x1F", "nurse", "NA", "1_0"])
SPELT = st.one_of(WORDS, NUMBERS.map(str), NUMBERS.map(repr), st.from_regex(r"[-+]?[0-9.]{1,4}([eE][-+]?[0-9]{1,3})?", fullmatch=True))
SPACE = st.text(st.sampled_from([*SPACES, "\u200b", "\x1c"]), max_size=2)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.tuples(SPACE, SPELT, SPACE).map("".join),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(FEATURES)), st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS))
@example("number", "nan(1)")
@example("required number", "\u200b5")
@example("job", "\x1cnurse")
def test_any_cell_has_one_verdict_and_the_same_bits_everywhere(name: str, value: Any) -> None:
    code, fault = Rule(FEATURES[name]).read(value)

    for carrier, carry in CARRIERS.items():
        try:
            check(name, carry(name, value), code, fault)
        except AssertionError as error:
            raise AssertionError(f"{carrier}: {error}") from error
