"""What is wrong with a value, in words: what was given, and what is expected."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import numpy as np

from proto_model.schema import DATE_TYPES, Feature, date_text
from proto_model.values.rules import LARGEST, NUMBERS, SPACES, Fault, as_float, is_number

_SHOWN_CHARACTERS = 40


def expected(feature: Feature, fault: int = 0) -> str:
    """What a feature accepts, in words.

    Examples
    --------
    >>> expected(Feature("age", "long", True, minimum=17.0, maximum=90.0, median=37.0))
    'a whole number expected, such as 37'
    """
    example = ""
    if feature.categories is not None:
        what, example = "a string", json.dumps(feature.most_frequent, ensure_ascii=False)
    elif feature.type == "text":
        what = "a string"
    elif feature.type in DATE_TYPES:
        what = "a date without a time" if feature.type == "date" else "a date and time"
        example = "" if feature.median is None else json.dumps(date_text(feature.median, feature.type))
    elif feature.type == "boolean":
        what = "true or false"
    elif fault == Fault.TOO_LARGE:
        what = f"a number between -{LARGEST:.2g} and {LARGEST:.2g}"
    elif feature.type == "long":
        what, example = "a whole number", "" if feature.median is None else f"{math.floor(feature.median)}"
    else:
        what, example = "a number", "" if feature.median is None else f"{feature.median:g}"
    return f"{what} expected" + (f", such as {example}" if example else "")


def fault_text(value: Any, feature: Feature, fault: int) -> str:
    """What was given and what is expected, in the words of every error about a value.

    Examples
    --------
    >>> age = Feature("age", "long", False, minimum=17.0, maximum=90.0, median=37.0)
    >>> fault_text("old", age, Fault.NOT_A_NUMBER)
    'the string "old" given, a whole number expected, such as 37'
    """
    return f"{_given(value, fault)}, {expected(feature, fault)}"


def _given(value: Any, fault: int) -> str:
    """A value that was refused, in words; numbers read the same however they were spelt."""
    if isinstance(value, (date, np.datetime64)) and fault != Fault.MISSING:
        return f"the date {value} given"
    if isinstance(value, np.generic):
        value = value.item()
    if fault == Fault.MISSING:
        marker = value.strip(SPACES) if isinstance(value, str) else ""
        return f"no value ({json.dumps(marker)}) given" if marker else "no value given"
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)} given"
    if isinstance(value, str):
        text = value.strip(SPACES)
        if not is_number(text):
            return f"the string {_cut(json.dumps(value, ensure_ascii=False))} given"
        value = float(text)
    if isinstance(value, NUMBERS):
        return f"{repr(as_float(value)).removesuffix('.0')} given"
    return f"{type(value).__name__} {_cut(str(value))} given"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
