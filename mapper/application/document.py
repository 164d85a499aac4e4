"""The text of a `mapping.yaml` as plain values, each with the line it stands on.

A mapping comes with a model, so its text is not trusted. It is read from the parser's events, one by one: no
object is ever made from a tag, aliases are refused (a few lines of them unfold to gigabytes), and size and
depth are bounded. Plain words mean what they mean in JSON: `no` is the text "no", as in YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mapper.errors import MappingError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12

Path = tuple[str | int, ...]

_WORDS: dict[str, Any] = {"": None, "~": None}
_WORDS |= {form: None for form in ("null", "Null", "NULL")}
_WORDS |= {form: word == "true" for word in ("true", "false") for form in (word, word.title(), word.upper())}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")  # 007 is a text, as a postcode may be
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?")


class Document(NamedTuple):
    """What a text says, and the line of each key and item by its path."""

    content: Any
    lines: dict[Path, int]

    def where(self, path: Path) -> str:
        """A place as a message names it: `line 3, request.weight.unit`."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        name = ".".join("".join(c if c.isprintable() else "?" for c in str(part)[:100]) for part in path)
        return f"line {self.lines.get(known, 1)}{', ' if name else ''}{name}"


def read_document(text: bytes) -> Document:
    """The document in a text; raises MappingError, which names the line."""
    import yaml  # only where there is a mapping

    if len(text) > MAX_BYTES:
        raise MappingError(f"The mapping has {len(text)} bytes; the limit is {MAX_BYTES}.")
    try:
        given = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MappingError(f"The mapping is not UTF-8 text: see byte {error.start}.") from error
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    reader = _Reader(iter(yaml.parse(given, Loader=loader)))
    try:
        content = reader.document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise MappingError(f"The mapping is not YAML: {line}{reason}.") from error
    return Document(content, reader.lines)


class _Reader:
    """Reads events; never deeper than `MAX_DEPTH`."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self.lines: dict[Path, int] = {}

    def document(self) -> Any:
        kinds = [self._next()[1] for _ in range(2)]
        if kinds[1] == "StreamEnd":
            raise MappingError("The mapping is empty.")
        content = self._value(*self._next(), path=())
        self._next()
        if self._next()[1] != "StreamEnd":
            raise MappingError("The mapping has more than one document (---); give one.")
        return content

    def _next(self) -> tuple[Any, str]:
        event = next(self._events)
        return event, type(event).__name__.removesuffix("Event")

    def _value(self, event: Any, kind: str, path: Path) -> Any:
        line = event.start_mark.line + 1
        if kind == "Alias" or event.anchor is not None:
            raise MappingError(f"The mapping's line {line} has an anchor or alias (& or *); write it out.")
        if event.tag is not None and event.tag != "!":
            raise MappingError(f"The mapping's line {line} has a tag ({event.tag[:40]}); leave it out.")
        if len(path) > MAX_DEPTH:
            raise MappingError(f"The mapping's line {line} is nested too deeply.")
        self.lines.setdefault(path, line)
        if kind == "Scalar":
            return _scalar(event.value) if event.implicit[0] else event.value
        return self._sequence(path) if kind == "SequenceStart" else self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while (found := self._next())[1] != "SequenceEnd":
            items.append(self._value(*found, path=(*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        """Keys stay text as it is written: `1: a` and `"1": a` are the same."""
        items: dict[str, Any] = {}
        while (found := self._next())[1] != "MappingEnd":
            event, kind = found
            line = event.start_mark.line + 1
            if kind != "Scalar":
                raise MappingError(f"The mapping's line {line} has a key that is not a text.")
            self._value(event, kind, (*path, event.value))
            if event.value in items:
                raise MappingError(f"The mapping's line {line} gives the key {event.value[:100]!r} again.")
            items[event.value] = self._value(*self._next(), path=(*path, event.value))
        return items


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
