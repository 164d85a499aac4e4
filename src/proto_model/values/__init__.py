"""The rule book for values: what is missing, a number, a boolean, a category, a date or a text.

A verdict depends on a value and its feature only, never on what carried the value: text means the same in a
CSV cell, a JSON string, an Arrow column, a tensor or a data frame, and so do numbers.
`schemas/cases/values.json` lists what every entry point must say.

Rows are coded as one float64 matrix, which forests, explanations and files all compute on: booleans as 0 and
1, a category as its index in `Feature.categories`, a date as days or seconds since 1970 (`SECONDS_OF`), a
text as a number whose bits tell which of `Feature.terms` it has; NaN for a missing value and for a category
that training never saw. The canonical frame holds the same rows with numbers and booleans as float64, dates
as datetime64[s], categories and texts as objects (str or None).
"""

from proto_model.values.coding import decode, encode
from proto_model.values.rules import (
    LARGEST,
    MISSING_MARKERS,
    SPACES,
    TRUTH,
    Codes,
    Fault,
    Rule,
    RuleBook,
    is_code,
    is_number,
    plain_numbers,
)
from proto_model.values.wording import expected, fault_text

__all__ = [
    "LARGEST",
    "MISSING_MARKERS",
    "SPACES",
    "TRUTH",
    "Codes",
    "Fault",
    "Rule",
    "RuleBook",
    "decode",
    "encode",
    "expected",
    "fault_text",
    "is_code",
    "is_number",
    "plain_numbers",
]
