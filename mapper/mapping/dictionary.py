"""The data dictionary of a `schema.json` from version 1.1 on: what people are told of a column.

It comes with the model and is not trusted: a schema whose texts have control characters is refused, and
whoever shows a text escapes it. The model's side has a reader of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

#: Signs that move a terminal's cursor, turn the direction of a line, end it unseen, or cannot be written.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
MAX_LISTED = 12


@dataclass(frozen=True)
class Entry:
    """What is known of a column; each part may be absent.

    `decode` has stored values (`1`, `true`, `red`) and what they mean, `author` answers for the column, and
    nobody should be treated differently because of one that is `protected`.
    """

    description: str = ""
    unit: str = ""
    decode: tuple[tuple[str, str], ...] = ()
    author: str = ""
    protected: bool = False

    @cached_property
    def words(self) -> dict[str, str]:
        """What a sentence calls stored values: the meaning, told apart where two mean the same.

        Examples
        --------
        >>> Entry(decode=(("1", "yes"), ("8", "unknown"), ("9", "unknown"))).words
        {'1': 'yes', '8': 'unknown (8)', '9': 'unknown (9)'}
        """
        taken = Counter(meaning for _, meaning in self.decode)
        stored = {value for value, _ in self.decode}
        return {
            value: meaning
            if taken[meaning] == 1 and (meaning == value or meaning not in stored)
            else f"{meaning} ({value})"
            for value, meaning in self.decode
        }

    @property
    def meanings(self) -> str:
        """The first stored values and what they mean, for people: `0: no, 1: yes`."""
        told = [f"{value}: {meaning}" for value, meaning in self.decode[:MAX_LISTED]]
        return ", ".join([*told, *(["…"] if len(self.decode) > MAX_LISTED else [])])

    @property
    def sentences(self) -> list[str]:
        """Description, unit and meanings as sentences; none for what is absent."""
        parts = [self.description, f"Unit: {self.unit}" if self.unit else "", self.meanings]
        return [part if part.endswith((".", "…", "!", "?")) else f"{part}." for part in parts if part]

    def to_dict(self) -> dict[str, Any]:
        """JSON object without the parts that are absent."""
        parts: dict[str, Any] = {"description": self.description, "unit": self.unit}
        parts |= {"decode": dict(self.decode), "author": self.author, "protected": self.protected}
        return {key: part for key, part in parts.items() if part}

    @classmethod
    def from_dict(cls, item: Any) -> Entry:
        """Entry from its JSON object, whose other keys do not count; a ValueError says what is wrong."""
        if not isinstance(item, dict):
            raise ValueError("is no object")
        decode, protected = item.get("decode", {}), item.get("protected", False)
        if not isinstance(decode, dict):
            raise ValueError("has a decode that is no object")
        texts = {key: item.get(key, "") for key in ("description", "unit", "author")}
        for key, text in (*texts.items(), *(("decode", text) for pair in decode.items() for text in pair)):
            if not isinstance(text, str) or CONTROLS.search(text):
                raise ValueError(f"has a {key} that is no text, or one with control characters")
        if type(protected) is not bool:
            raise ValueError("has protected that is neither true nor false")
        return cls(**texts, decode=tuple(decode.items()), protected=protected)


NO_ENTRY = Entry()
