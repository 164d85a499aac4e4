"""JSON in tags: what this project writes can be read by all, and what others wrote does no harm."""

from __future__ import annotations

import json
from typing import Any

MAX_TAG_CHARACTERS = 5_000
"""Longest value of a tag that every MLflow server keeps whole."""


def to_tag_value(value: object) -> str:
    """A value as JSON; half a character, which no database takes, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()


def of_tag_value(text: str | None, kind: type) -> Any:
    """Value of a tag; None if it holds none of this kind, or one that cannot be written again.

    Python reads more than JSON has, such as NaN, and half characters that cannot be printed.

    Examples
    --------
    >>> of_tag_value('["eu"]', list), of_tag_value('{"a": NaN}', dict)
    (['eu'], None)
    """
    try:
        value = json.loads(text or "null")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
