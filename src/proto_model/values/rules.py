"""What one feature makes of a value: its code, or the fault that it has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.dates import FIRST, LAST, seconds_in, seconds_in_array, seconds_of
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, ModelSchema
from proto_model.texts import mask_of

#: What is trimmed: Unicode's White_Space. `str.strip()` and Arrow's trim remove other characters.
SPACES = "".join(map(chr, [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)])) + "".join(
    map(chr, [0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
)

#: Texts that mean "no value", unless a feature knows them as a category.
MISSING_MARKERS = (
    *("", "?", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "null", "None", "#N/A N/A", "-1.#IND", "1.#IND", "-1.#QNAN", "1.#QNAN"),
)

#: Texts that are truth values, beside numbers that are 0 or 1.
TRUTH = {**dict.fromkeys(("true", "True", "TRUE"), 1.0), **dict.fromkeys(("false", "False", "FALSE"), 0.0)}

#: Numbers beyond it are refused: forests compare in 32 bits.
LARGEST = float(np.finfo(np.float32).max)

Codes = tuple[NDArray[np.float64], NDArray[np.uint8]]

_MARKERS = frozenset(MISSING_MARKERS)
# Each digit matches in one way only, or a long text of digits that ends wrong would take quadratic time.
_NUMBER = re.compile(
    r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[iI][nN][fF]([iI][nN][iI][tT][yY])?"
)
# Of texts in these characters alone, `float` takes exactly those that are numbers here.
_PLAIN = re.compile(r"[0-9.eE+-]*")
_BOOLEANS = (bool, np.bool_)
NUMBERS = (int, float, np.integer, np.floating, Decimal)
_PART_VALUES = 1 << 13


class Fault(IntEnum):
    """Why a value is refused; 0 stands for a value that is accepted."""

    MISSING = 1
    TOO_LARGE = 2
    NOT_A_NUMBER = 3
    NOT_WHOLE = 4
    NOT_BOOLEAN = 5
    NOT_TEXT = 6
    NOT_A_DATE = 7
    NOT_A_DAY = 8


def is_number(text: str) -> bool:
    """Whether a trimmed text spells a number, finite or not.

    Examples
    --------
    >>> [is_number(text) for text in ("007", "-.5e3", "inf", "1_000", "0x10", "nan")]
    [True, True, True, False, False, False]
    """
    return _NUMBER.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Whether a text looks like a number, but would lose zeros as one: `007`.

    A table's column with such a text stays text; a feature that takes numbers reads it as one.
    """
    digits = text.lstrip("+-")
    return digits[:1] == "0" and digits[1:2].isdigit()


def plain_numbers(row: Sequence[Any]) -> list[Any]:
    """A row of numbers, some of which are texts that only need `float`, or missing: "" and None.

    Raises
    ------
    ValueError
        If a text may mean anything else.
    """
    if _PLAIN.fullmatch("".join([value for value in row if isinstance(value, str)])) is None:
        raise ValueError("a text needs a closer look")
    return [
        float(value or "nan") if isinstance(value, str) else math.nan if value is None else value
        for value in row
    ]


def as_float(number: Any) -> float:
    """A number as float, infinite where it is beyond every float."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    except ValueError:  # a Decimal that is a signalling NaN
        return math.nan


_WRONG = {
    **dict.fromkeys(("string", "text"), Fault.NOT_TEXT),
    **dict.fromkeys(DATE_TYPES, Fault.NOT_A_DATE),
    "boolean": Fault.NOT_BOOLEAN,
}


class Rule:
    """What one feature makes of values; codes are undefined where a value is refused."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.is_category = feature.categories is not None
        self.takes_numbers = feature.takes_numbers
        self._unit = SECONDS_OF.get(feature.type, 0)  # seconds; 0 for what is no date
        self._bits = {term: 1 << bit for bit, term in enumerate(feature.terms or ())}
        #: Codes of texts that need no further look.
        self.codes: Mapping[str, float] = (
            TRUTH
            if feature.type == "boolean"
            else {category: float(code) for code, category in enumerate(feature.categories or ())}
        )
        self.missing = (math.nan, 0 if feature.nullable else int(Fault.MISSING))
        self.wrong = (math.nan, int(_WRONG.get(feature.type, Fault.NOT_A_NUMBER)))

    def read(self, value: Any) -> tuple[float, int]:
        """Code of a value of any type, and its fault or 0."""
        if isinstance(value, str):
            return self.read_text(value)
        if value is None:
            return self.missing
        if isinstance(value, _BOOLEANS):
            return (float(value), 0) if self.feature.type == "boolean" else self.wrong
        if not isinstance(value, NUMBERS):
            return self._read_moment(value) if self._unit else self.wrong
        number = as_float(value)
        if number != number:  # NaN
            return self.missing
        return self.read_number(number) if self.takes_numbers else self.wrong

    def read_text(self, text: str) -> tuple[float, int]:
        """Code of a text, and its fault or 0."""
        code = self.codes.get(text)
        if code is not None:
            return code, 0
        text = text.strip(SPACES)
        code = self.codes.get(text)
        if code is not None:
            return code, 0
        if text in _MARKERS:
            return self.missing
        if self.is_category:
            return math.nan, 0  # a category that training never saw
        if self._unit:
            return self._read_seconds(seconds_in(text))
        if self.feature.type == "text":
            return mask_of(text, self._bits), 0
        return self.read_number(float(text)) if is_number(text) else self.wrong

    def read_number(self, number: float) -> tuple[float, int]:
        """Code of a number that is not NaN, and its fault or 0; not for categories."""
        if self.feature.type == "boolean":
            return (number, 0) if number in (0.0, 1.0) else self.wrong
        if abs(number) > LARGEST:
            return number, int(Fault.TOO_LARGE)
        whole = self.feature.type == "double" or number.is_integer()
        return number, 0 if whole else int(Fault.NOT_WHOLE)

    def _read_moment(self, value: Any) -> tuple[float, int]:
        """Code of a value that is neither a text nor a number, for a date."""
        if isinstance(value, (date, np.datetime64)) and value != value:  # NaT
            return self.missing
        return self._read_seconds(seconds_of(value))

    def _read_seconds(self, seconds: int | None) -> tuple[float, int]:
        if seconds is None:
            return self.wrong
        if seconds % self._unit:
            return math.nan, int(Fault.NOT_A_DAY)
        return float(seconds // self._unit), 0

    def read_moments(self, seconds: NDArray[np.float64]) -> Codes:
        """Codes and faults of whole seconds since 1970, NaN where there is no date; for dates alone."""
        missing = np.isnan(seconds)
        faults = np.where(missing, self.missing[1], 0).astype(np.uint8)
        faults[np.where(missing, 0, seconds) % self._unit != 0] = Fault.NOT_A_DAY
        faults[(seconds < FIRST) | (seconds > LAST)] = Fault.NOT_A_DATE
        return seconds / self._unit, faults

    def number_faults(self, numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Fault of each number, NaN where it is missing."""
        missing = np.isnan(numbers)
        faults = np.where(missing, self.missing[1], 0).astype(np.uint8)
        if not self.takes_numbers:
            faults[~missing] = self.wrong[1]
        elif self.feature.type == "boolean":
            faults[~missing & (numbers != 0) & (numbers != 1)] = Fault.NOT_BOOLEAN
        else:
            if self.feature.type == "long":
                faults[np.floor(numbers) < numbers] = Fault.NOT_WHOLE  # false for NaN
            faults[np.abs(numbers) > LARGEST] = Fault.TOO_LARGE
        return faults

    def read_texts(self, texts: Sequence[str | None]) -> Codes:
        """Codes and faults of texts, None where there is none."""
        return self._one_by_one([self.missing if text is None else self.read_text(text) for text in texts])

    def read_column(self, values: Sequence[Any] | NDArray[Any]) -> Codes:
        """Codes and faults of values of any types."""
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
            numbers = values.astype(np.float64)
            return numbers, self.number_faults(numbers)
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            if self._unit:
                return self.read_moments(seconds_in_array(values))
            values = list(values)  # which `tolist` may make numbers of
        cells: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else values
        known = self._known_texts(cells)
        if known is not None:
            return known, np.zeros(len(known), np.uint8)
        plain = self._plain_numbers(cells) if self.takes_numbers else None
        if plain is not None:
            return plain, self.number_faults(plain)
        return self._one_by_one(list(map(self.read, cells)))

    def _known_texts(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """Codes of values that all are known texts, else None."""
        try:
            return np.fromiter(map(self.codes.__getitem__, values), np.float64, len(values))
        except (KeyError, TypeError):
            return None

    def _plain_numbers(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """Values that all are numbers or None, or texts that only need `float`; else None."""
        types = set(map(type, values))
        try:
            if types <= {int, float, type(None)} or (types == {bool} and self.feature.type == "boolean"):
                return np.array(values, dtype=np.float64)
            if types == {str} and _PLAIN.fullmatch("".join(values)):
                cells = [text or "nan" for text in values] if "" in values else values
                return np.fromiter(map(float, cells), np.float64, len(values))
        except (OverflowError, ValueError):
            pass
        return None

    @staticmethod
    def _one_by_one(read: list[tuple[float, int]]) -> Codes:
        codes = np.array([code for code, _ in read], dtype=np.float64)
        return codes, np.array([fault for _, fault in read], dtype=np.uint8)


class RuleBook:
    """The rules of a schema's features, and those for numbers as one look at a whole matrix."""

    def __init__(self, schema: ModelSchema) -> None:
        self.schema = schema
        self.rules = [Rule(feature) for feature in schema.features]
        features = schema.features
        is_boolean = np.array([feature.type == "boolean" for feature in features])
        # A category that is NaN may be unseen, which is accepted; dates and texts are read one by one.
        required = np.array([not f.nullable and f.takes_numbers for f in features])
        whole = np.array([feature.type in ("long", "boolean") for feature in features])
        self._any_required, self._any_whole = bool(required.any()), bool(whole.any())
        self._only_size_counts = bool(required.all()) and not self._any_whole
        # As large as the part of a matrix that is looked at: a row for all of it takes three times as long.
        self._n_part = max(1, _PART_VALUES // len(features))
        low, high = np.where(is_boolean, 0.0, -LARGEST), np.where(is_boolean, 1.0, LARGEST)
        self._parts = [np.tile(row, (self._n_part, 1)) for row in (low, high, whole, required)]

    @classmethod
    def of(cls, schema: ModelSchema) -> RuleBook:
        """Rule book of a schema, made once per schema."""
        return _rule_book(schema)

    def accepts(self, matrix: NDArray[np.float64]) -> bool:
        """Whether no number of a coded matrix has a fault; codes of categories are not looked at."""
        n_rows, n_part = len(matrix), self._n_part
        # Comparisons with NaN are false, and NaN is both maximum and minimum of a matrix that has one.
        if self._only_size_counts:
            if n_rows == 1:
                return bool(np.maximum.reduce(np.abs(matrix[0])) <= LARGEST)
            return bool(matrix.max() <= LARGEST and matrix.min() >= -LARGEST)
        if n_rows > n_part:
            # By parts, because large temporary arrays come from the kernel page by page, which takes long.
            return all(self.accepts(matrix[start : start + n_part]) for start in range(0, n_rows, n_part))
        low, high, whole, required = [part[:n_rows] for part in self._parts]
        bad = (matrix < low) | (matrix > high)
        if self._any_whole:
            bad |= whole & (np.floor(matrix) < matrix)
        if self._any_required:
            bad |= required & np.isnan(matrix)
        return not bad.any()


@lru_cache(maxsize=64)
def _rule_book(schema: ModelSchema) -> RuleBook:
    return RuleBook(schema)
