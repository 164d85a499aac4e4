"""What a document says of each column, checked against the columns that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from proto_model.dictionary import CONTROLS, NO_ENTRY, Entry
from proto_model.errors import DataError, listed
from proto_model.explanation.wording import shown
from proto_model.schema import DATE_TYPES, Feature, ModelSchema, date_text
from proto_model.table import TrainingData
from proto_model.training.dictionary.document import Document, Place
from proto_model.values import MISSING_MARKERS, SPACES, Rule

MAX_CHARACTERS = {"description": 1000, "unit": 40, "author": 200, "decode": 200}
KEYS = ("description", "unit", "decode", "author", "protected")
MAX_FAULTS, MAX_FAULT_CHARACTERS = 20, 300  # together, they fit into the description of the failed run

_UNITS = ("double", "long", "string")
# What a spreadsheet computes, should a text ever stand alone in a cell of one.
_FORMULA = re.compile(r"[=@]|[+-].*[(!|]")


def described(data: TrainingData, document: Document) -> TrainingData:
    """The same data, whose schema and columns that are left out have what the document says of them.

    A DataError lists all that is wrong with the document, with its places.
    """
    schema = data.schema
    entries = read_entries(document, schema, [column.name for column in data.dropped])
    dropped = tuple(replace(column, entry=entries.get(column.name, NO_ENTRY)) for column in data.dropped)
    return replace(data, schema=schema.with_dictionary(entries), dropped=dropped)


def read_entries(document: Document, schema: ModelSchema, left_out: Iterable[str] = ()) -> dict[str, Entry]:
    """What a document says, by the names of a schema's columns and of those that are left out of it.

    A DataError lists all that is wrong with the document, with its places.
    """
    return _Reader(document, schema, frozenset(left_out)).entries()


def coverage_text(schema: ModelSchema) -> str:
    """How many columns the dictionary describes, and which it does not."""
    names = [*schema.feature_names, schema.target]
    missing = [name for name in names if not schema.entry(name).description]
    told = f"The dictionary describes {len(names) - len(missing)} of {len(names)} columns"
    return f"{told}. Without a description: {listed(missing, 10)}." if missing else f"{told}."


@dataclass
class _Reader:
    """Reads the parts of a document, and notes what is wrong with them."""

    document: Document
    schema: ModelSchema
    left_out: frozenset[str]
    faults: list[str] = field(default_factory=list)
    n_faults: int = 0

    def entries(self) -> dict[str, Entry]:
        """All entries, or a DataError with the first faults."""
        content = self.document.content
        if not isinstance(content, dict) or not content:
            raise DataError(
                f"{self.document.name} has no columns: give what there is to say of each under its name, "
                "such as `age: {description: Age at admission, unit: years}`."
            )
        features = {feature.name: feature for feature in self.schema.features}
        columns: dict[str, Feature | None] = {**dict.fromkeys(self.left_out), **features}
        columns[self.schema.target] = _as_feature(self.schema)
        entries = {}
        for name, item in content.items():
            if name in columns:
                entries[name] = self._entry(name, item, columns[name])
            else:
                self._note((name,), f"there is no such column{self._hint(name, columns)}")
        if self.faults:
            more = self.n_faults - len(self.faults)
            told = "\n  ".join(self.faults) + (f"\n  … and {more} more" if more else "")
            raise DataError(f"The dictionary does not fit:\n  {told}")
        return entries

    def _entry(self, name: str, item: Any, feature: Feature | None) -> Entry:
        if isinstance(item, str):
            item = {"description": item}
        if not isinstance(item, dict):
            self._note((name,), f"{_shown(item)} given, a description or {', '.join(KEYS)} expected")
            return NO_ENTRY
        for key in sorted(item.keys() - set(KEYS)):
            self._note((name, key), f"not known{self._hint(key, KEYS)}. Known are {', '.join(KEYS)}")
        texts = {
            key: self._text(item.get(key), (name, key), key) for key in ("description", "unit", "author")
        }
        kind = "" if feature is None else feature.type
        if texts["unit"] and kind and kind not in _UNITS:
            self._note((name, "unit"), f"the column is a {kind}, which has no unit")
        protected = item.get("protected")
        if protected is not None and type(protected) is not bool:
            self._note((name, "protected"), f"{_shown(protected)} given, true or false expected")
        decode = self._decode(item.get("decode"), name, feature)
        return Entry(**texts, decode=tuple(decode.items()), protected=protected is True)

    def _decode(self, given: Any, name: str, feature: Feature | None) -> dict[str, str]:
        place = (name, "decode")
        if given is None:
            return {}
        if not isinstance(given, dict):
            self._note(place, f"{_shown(given)} given, stored values and their meanings expected")
            return {}
        if feature is not None and feature.type == "text":
            self._note(place, "the column is a text, whose words have no other meanings")
            return {}
        decode: dict[str, str] = {}
        for value, meaning in given.items():
            stored = self._stored(value, feature)
            if stored is None:
                self._note((*place, value), f"no value of this column, which is a {feature and feature.type}")
            elif stored in decode:
                self._note((*place, value), f"{_shown(stored)} has a meaning already")
            elif text := self._text(meaning, (*place, value), "decode"):
                decode[stored] = text
            elif meaning is None or meaning == "":
                self._note((*place, value), "no meaning given")
        known = set(feature.categories or ()) if feature is not None else set()
        if decode and known and not known & decode.keys():
            some = listed(sorted(known), 5)
            self._note(place, f"none of these values is in the column, which has {some}")
        return decode

    @staticmethod
    def _stored(value: str, feature: Feature | None) -> str | None:
        """A stored value as explanations spell it; None if the column cannot have it."""
        text = value.strip(SPACES)
        if CONTROLS.search(text):
            return None
        if feature is None or feature.type == "string" or text in MISSING_MARKERS:
            is_known = feature is not None and text in (feature.categories or ())
            return text if is_known or len(text) <= MAX_CHARACTERS["decode"] else None
        code, fault = Rule(feature).read_text(text)
        if fault:
            return None
        if feature.type in DATE_TYPES:
            return date_text(code, feature.type)
        kinds: dict[str, Any] = {"boolean": bool, "long": int}
        return shown(kinds.get(feature.type, float)(code))

    def _text(self, given: Any, place: Place, key: str) -> str:
        """A text on one line; empty if there is none or it is wrong, which is noted."""
        if given is None:
            return ""
        if not isinstance(given, str):
            self._note(place, f"{_shown(given)} given, a text expected. Put it between quotes")
            return ""
        text = re.sub(r"[ \t\r\n]+", " ", given).strip(" ")
        if CONTROLS.search(text):
            self._note(place, "it has control characters")
        elif len(text) > MAX_CHARACTERS[key]:
            self._note(place, f"it has {len(text):,} characters, at most {MAX_CHARACTERS[key]:,} are allowed")
        elif _FORMULA.match(text):
            self._note(place, f"it begins with {text[0]!r}, as a formula does. Begin with a word")
        else:
            return text
        return ""

    def _note(self, place: Place, message: str) -> None:
        self.n_faults += 1
        if len(self.faults) < MAX_FAULTS:
            fault = f"{self.document.where(place)}: {message}."
            too_long = len(fault) > MAX_FAULT_CHARACTERS
            self.faults.append(f"{fault[: MAX_FAULT_CHARACTERS - 1]}…" if too_long else fault)

    def _hint(self, word: str, known: Iterable[str]) -> str:
        """What may be meant; only for faults that are told, because to look among many columns takes long."""
        is_told = len(self.faults) < MAX_FAULTS
        found = get_close_matches(word[:100], list(known), n=1) if is_told else []
        return f"; did you mean {found[0]!r}?" if found else ""


def _as_feature(schema: ModelSchema) -> Feature:
    """The target as a column whose values are the classes."""
    categories = tuple(map(str, schema.classes)) if schema.target_type == "string" else None
    return Feature(schema.target, schema.target_type, False, categories)


def _shown(value: Any) -> str:
    """A value that was given, shortened."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = (
        repr(value) if isinstance(value, str) else shown(value) if _is_plain(value) else type(value).__name__
    )
    return CONTROLS.sub("?", text if len(text) <= 40 else text[:39] + "…")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)
