"""The text of a data dictionary as plain values, and where each stands.

The text may come from a URL and is not trusted: YAML is read from the parser's events, one by one, so no
object is ever made from a tag, and aliases, of which a few lines unfold to gigabytes, are refused. Plain
words mean what they mean in JSON: `no` is the text "no", as in YAML 1.2. The mapper, which shares no code
with this side, reads its mappings in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from proto_model.dictionary import CONTROLS
from proto_model.errors import DataError

MAX_BYTES = 1 << 20
MAX_DEPTH = 4  # columns, their parts, stored values, and one more to say what is wrong there

Place = tuple[str, ...]

_WORDS: dict[str, Any] = {"": None, "~": None}
_WORDS |= {form: None for form in ("null", "Null", "NULL")}
_WORDS |= {form: word == "true" for word in ("true", "false") for form in (word, word.title(), word.upper())}
_NUMBER = re.compile(r"[-+]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Document:
    """What a dictionary says, the line of each key by its place, and what it was read from."""

    content: Any
    name: str
    lines: Mapping[Place, int] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[Any, Any], name: str = "dictionary") -> Document:
        """A dictionary that is not a file: keys that are numbers or truth values are spelt as in JSON."""
        return cls(_plain(content, name), name)

    def where(self, place: Place) -> str:
        """A place as a message names it: `columns.yaml, line 3, age.unit`."""
        line = self.lines.get(place)
        parts = [self.name, *([] if line is None else [f"line {line}"]), ".".join(map(_printable, place))]
        return ", ".join(filter(None, parts))


def read_document(text: bytes, name: str) -> Document:
    """The dictionary in a text, YAML or JSON; a DataError names the line of what cannot be read."""
    if len(text) > MAX_BYTES:
        raise DataError(f"{name} has more than {MAX_BYTES:,} bytes, too many for a dictionary.")
    try:
        given = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text: see byte {error.start}.") from error
    fault = ""
    if given.lstrip().startswith("{"):  # YAML has no tabs, and other escapes than JSON
        try:
            return Document(_read_json(given, name), name)
        except (ValueError, RecursionError) as error:
            fault = f"JSON ({error}) or "
    reader = _Reader(iter(yaml.parse(given, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))), name)
    try:
        return Document(reader.document(), name, reader.lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise DataError(f"{name} is not {fault}YAML: {line}{_printable(reason)}.") from error


def _read_json(text: str, name: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, value in pairs:
            if key in items:
                raise DataError(f"{name} gives the key {_printable(key)!r} twice.")
            items[key] = value
        return items

    def no_number(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)


class _Reader:
    """Reads events; never deeper than `MAX_DEPTH`."""

    def __init__(self, events: Iterator[Any], name: str) -> None:
        self._events = events
        self._name = name
        self.lines: dict[Place, int] = {}

    def document(self) -> Any:
        kinds = [self._next()[1] for _ in range(2)]
        if kinds[1] == "StreamEnd":
            raise DataError(f"{self._name} is empty.")
        content = self._value(*self._next(), place=())
        self._next()
        if self._next()[1] != "StreamEnd":
            raise DataError(f"{self._name} has more than one document (---). Give one.")
        return content

    def _next(self) -> tuple[Any, str]:
        event = next(self._events)
        return event, type(event).__name__.removesuffix("Event")

    def _value(self, event: Any, kind: str, place: Place) -> Any:
        line = event.start_mark.line + 1
        if kind == "Alias" or event.anchor is not None:
            self._refuse(line, "has an anchor or an alias (& or *). Write it out")
        if event.tag is not None and event.tag != "!":
            self._refuse(line, f"has a tag ({_printable(event.tag)}). Leave it out")
        if len(place) > MAX_DEPTH:
            self._refuse(line, "is nested too deeply")
        self.lines.setdefault(place, line)
        if kind == "Scalar":
            return _scalar(event.value) if event.implicit[0] else event.value
        return self._sequence(place) if kind == "SequenceStart" else self._mapping(place)

    def _sequence(self, place: Place) -> list[Any]:
        items: list[Any] = []
        while (found := self._next())[1] != "SequenceEnd":
            items.append(self._value(*found, place=(*place, str(len(items)))))
        return items

    def _mapping(self, place: Place) -> dict[str, Any]:
        """Keys stay text as it is written: `1: yes` and `"1": yes` are the same."""
        items: dict[str, Any] = {}
        while (found := self._next())[1] != "MappingEnd":
            event, kind = found
            line = event.start_mark.line + 1
            if kind != "Scalar":
                self._refuse(line, "has a key that is not a text")
            key = event.value
            if key in items:
                self._refuse(line, f"gives the key {_printable(key)!r} again")
            self._value(event, kind, (*place, key))
            items[key] = self._value(*self._next(), place=(*place, key))
        return items

    def _refuse(self, line: int, what: str) -> NoReturn:
        raise DataError(f"{self._name}: line {line} {what}.")


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    return float(text) if _NUMBER.fullmatch(text) else text


def _plain(content: Any, name: str) -> Any:
    """Mappings with keys that are texts."""
    if not isinstance(content, Mapping):
        return content
    items: dict[str, Any] = {}
    for key, value in content.items():
        text = key if isinstance(key, str) else _key(key, name)
        if text in items:
            raise DataError(f"{name} gives the key {_printable(text)!r} twice.")
        items[text] = _plain(value, name)
    return items


def _key(key: Any, name: str) -> str:
    value = key.item() if hasattr(key, "item") else key  # NumPy's
    if not isinstance(value, bool | int | float) or value != value:
        raise DataError(f"{name} has the key {_printable(repr(key))}; a text or a number expected.")
    return json.dumps(value)


def _printable(text: str) -> str:
    return CONTROLS.sub("?", text[:100])
