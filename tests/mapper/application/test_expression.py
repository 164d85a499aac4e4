"""The language of expressions: what it computes, what it refuses, and that nothing gets out of bounds."""

import ast
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapper.application.expression import ExpressionError, parse
from mapper.application.functions import (
    FUNCTIONS,
    MAX_NUMBER,
    MAX_TEXT_CHARACTERS,
    SPECIAL,
    NotComputableError,
)

KINDS = {"a": "number", "b": "number", "t": "text", "yes": "boolean", "mean radius": "number"}
RECORD = {"a": 3, "b": 0.5, "t": " Dream ", "yes": True, "mean radius": 14.2}


def value(source, **given):
    return parse(source, KINDS).value({**RECORD, **given})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a * 2 - b", 5.5),
        ("-a // 2", -2.0),
        ("7 % a", 1.0),
        ("a ** 2", 9.0),
        ("1e3", 1000.0),
        ("a if yes else b", 3.0),
        ("a > 2 and b < 1", True),
        ("not yes or a == 3", True),
        ("t == ' Dream '", True),
        ("trim(t) + '!'", "Dream!"),
        ("upper(trim(t))", "DREAM"),
        ("len(trim(t))", 5.0),
        ("lower('ÄB')", "äb"),
        ("t in ['x', ' Dream ']", True),
        ("a not in (1, 2)", True),
        ("round(a / 7, 2)", 0.43),
        ("round(2.6)", 3.0),
        ("min(a, b, 9)", 0.5),
        ("max(a, b)", 3.0),
        ("abs(-a) + floor(2.7) + ceil(2.2)", 8.0),
        ("sqrt(16) + log(exp(1))", 5.0),
        ("number('4.5') * 2", 9.0),
        ("text(a) + '/' + text(b) + '/' + text(yes)", "3/0.5/true"),
        ("year('1984-02-29') + month('1984-02-29') / 100 + day('1984-02-29T10:00')", 2013.02),
        ("days('2026-03-01') - days('2026-02-01')", 28.0),
        ("field('mean radius') * 2", 28.4),
        ("coalesce(None, a)", 3.0),
        ("missing(None)", True),
        ("None if yes else 1", None),
    ],
)
def test_an_expression_has_the_value_that_its_text_says(source, expected):
    assert value(source) == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert type(value(source)) is type(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a + 1", None),
        ("a > 1", None),
        ("max(a, 1)", None),
        ("'x' if a > 1 else 'y'", None),
        ("not (a > 1)", None),
        ("a > 1 and b > 9", False),
        ("b < 9 or a > 1", True),
        ("a > 1 and b < 9", None),
        ("missing(a)", True),
        ("coalesce(a, b)", 0.5),
        ("0 if missing(a) else a", 0.0),
        ("a in [1, 2]", None),
    ],
)
def test_what_is_computed_from_a_missing_value_is_missing(source, expected):
    assert value(source, a=None) is expected or value(source, a=None) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("__import__('os').system('true')", "no function"),
        ("a.__class__", "Attribute is not part"),
        ("(lambda: 1)()", "no function"),
        ("[x for x in t]", "ListComp is not part"),
        ("t[0]", "Subscript is not part"),
        ("f'{a}'", "JoinedStr is not part"),
        ("(a := 1)", "NamedExpr is not part"),
        ("open('/etc/passwd')", "no function"),
        ("abs(*t)", "without names or"),
        ("round(a, digits=2)", "without names or"),
        ("9 ** 9 ** 9 ** 9 if t else 1", "if takes a boolean"),
        ("t * 1000", r"\* takes a number"),
        ("'ab' + 1", r"\+ takes a number"),
        ("a + t", r"\+ takes a number"),
        ("a == t", "compared with"),
        ("a == None", "use missing"),
        ("a is None", "use == or missing"),
        ("1 < a < 3", "a < b and b < c"),
        ("a & 1", "not part of the language"),
        ("~a", "not part of the language"),
        ("'a' if yes else 1", "different types: number and text"),
        ("wieght + 1", "there is no 'wieght'"),
        ("yess", "did you mean .yes"),
        ("rnd(a)", "did you mean .round|known"),
        ("round()", "1 to 2 value"),
        ("max()", "1 or more"),
        ("b'x'", "not a number, a text"),
        ("1j", "not a number, a text"),
        ("1e999", "not a number, a text"),
        ("a +", "not an expression"),
        ("", "not an expression"),
        ("a\0", "not an expression"),
        ("(" * 300 + "a" + ")" * 300, "not an expression"),
        ("not " * 40 + "yes", "nested too deeply"),
        ("-" * 900 + "a", "nested too deeply|too long|not an expression"),
        ("+".join("a" for _ in range(400)), "too long"),
        ("a" * 1001, "the limit is 1000"),
        ("field(t)", "name of a field as text"),
        ("a in t", "list of constants"),
        ("a in ['x']", "each a number"),
    ],
)
def test_what_is_not_of_the_language_is_refused_with_the_reason(source, words):
    with pytest.raises(ExpressionError, match=words):
        parse(source, KINDS)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / (a - 3)", "division by zero"),
        ("a % 0", "division by zero"),
        ("9.0 ** 9 ** 9 ** 9", "not a finite number"),
        ("(-8) ** 0.5", "not a finite number"),
        ("1e200 * 1e200", "not a finite number"),
        ("exp(10000)", "not a finite number"),
        ("log(0)", "not a finite number"),
        ("sqrt(-1)", "not a finite number"),
        ("number('x')", "not a number"),
        ("year('yesterday')", "not a date"),
        ("year('2023-02-30')", "not a date"),
        ("year('20230228')", "not a date"),
        ("round(a, 99)", "0 to 10 digits"),
    ],
)
def test_what_has_no_value_for_a_row_is_told(source, words):
    with pytest.raises(NotComputableError, match=words):
        value(source)


def test_texts_stay_short():
    with pytest.raises(NotComputableError, match="more than 1000 characters"):
        value("t + t + t", t="x" * 400)
    with pytest.raises(NotComputableError, match="more than 1000 characters"):
        value("upper(t)", t="ΐ" * 999)


NAMES = st.sampled_from([*KINDS, *FUNCTIONS, *SPECIAL, "__import__", "x"]).filter(str.isidentifier)
LEAVES = st.one_of(
    NAMES,
    st.integers(-(10**9), 10**9).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["True", "False", "None", "'abc'", "'2026-01-31'", "[1, 2]", "('a', 'b')", "9e299"]),
)


def _grown(parts):
    operator = st.sampled_from("+ - * / // % ** < <= == != and or in is @ &".split())
    return st.one_of(
        st.tuples(parts, operator, parts).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(parts, parts, parts).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(NAMES, st.lists(parts, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(st.sampled_from(["-", "not ", "~"]), parts).map("".join),
        parts.map(lambda part: f"{part}.real"),
    )


SOURCES = st.one_of(st.recursive(LEAVES, _grown, max_leaves=12), st.text(max_size=60))
NUMBERS = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False))
RECORDS = st.fixed_dictionaries(
    {
        "a": NUMBERS,
        "b": NUMBERS,
        "mean radius": NUMBERS,
        "t": st.none() | st.text(),
        "yes": st.none() | st.booleans(),
    }
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=SOURCES, record=RECORDS)
def test_any_text_is_refused_or_has_a_value_of_its_type_within_bounds(source, record):
    try:
        expression = parse(source, KINDS)
    except ExpressionError:
        return
    try:
        result = expression.value(record)
    except NotComputableError:
        return
    if result is None:
        return
    kinds = {"number": (int, float), "text": str, "boolean": bool}
    assert isinstance(result, kinds[expression.kind])
    assert isinstance(result, bool) == (expression.kind == "boolean")
    if expression.kind == "number":
        assert math.isfinite(result)
        assert abs(result) <= MAX_NUMBER
    if expression.kind == "text":
        assert len(result) <= max(MAX_TEXT_CHARACTERS, len(record["t"] or ""), len(source))


@given(a=st.floats(-1e6, 1e6), b=st.floats(-1e6, 1e6))
def test_arithmetic_is_that_of_python(a, b):
    for source in ("a + b * 2 - 1", "a - b", "min(a, b)", "abs(a)", "a if a < b else b"):
        names = {"min": min, "abs": abs, "a": a, "b": b}
        tree = compile(ast.parse(source, mode="eval"), "test", "eval")
        assert value(source, a=a, b=b) == eval(tree, {}, names)


def test_a_field_is_the_one_whose_name_is_written():
    kinds = {"\u017fum": "number", "sum": "number", "\ufb01eld": "number"}  # Python reads them as sum, field

    assert parse("\u017fum + 1", kinds).value({"\u017fum": 7, "sum": 9}) == 8
    assert parse("2 * \ufb01eld", kinds).names == ("\ufb01eld",)


def test_a_text_that_no_json_can_hold_is_no_constant():
    with pytest.raises(ExpressionError, match="is not a number, a text"):
        parse("'\\ud800'", KINDS)
