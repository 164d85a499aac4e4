"""What is noted while a mapping is read: each fault with its place, so that all are told at once."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn

from mapper.application.document import Document, Path
from mapper.application.functions import spelled
from mapper.errors import LIST_LIMIT, MappingError, shown

MAX_NAME = 100


class Fault(Exception):
    """A part that cannot be read; its fault is noted."""


class Notes:
    """The faults of a document, and how its parts are read."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults: list[str] = []

    def text(self, keys: dict[str, Any], path: Path, key: str) -> str:
        """Text of a key, empty if there is none."""
        text = keys.get(key)
        return "" if text is None else spelled(text) if not isinstance(text, dict | list) else ""

    def table(self, keys: dict[str, Any], path: Path, key: str) -> dict[str, Any]:
        """Table under a key, empty if there is none."""
        table = keys.get(key)
        if table is None:
            return {}
        if not isinstance(table, dict):
            self.note((*path, key), f"{shown(table)} given, a table of names expected")
            return {}
        return table

    def keys(self, item: Any, path: Path, known: tuple[str, ...]) -> dict[str, Any]:
        """Keys of an item, none if it is empty; others are noted."""
        if item is None:
            item = {}
        if not isinstance(item, dict):
            self.fail(path, f"{shown(item)} given, keys expected: {', '.join(known)}")
        self.known_keys(item, path, known)
        return item

    def known_keys(self, item: dict[str, Any], path: Path, known: tuple[str, ...]) -> None:
        """Note the keys that are not known."""
        for key in sorted(item.keys() - set(known)):
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            self.note((*path, key), f"no such key; {hint}")

    def check_name(self, path: Path, name: str) -> None:
        """Fail unless a name can be shown."""
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
            self.fail(path, f"a name of 1 to {MAX_NAME} printable characters expected")

    def attempt(self, read: Any, *given: Any) -> Any:
        """What `read` gives, or None when it notes a fault."""
        try:
            return read(*given)
        except Fault:
            return None

    def note(self, path: Path, message: str) -> None:
        """Note what is wrong at a place."""
        self.faults.append(f"{self.document.where(path)}: {message}")

    def fail(self, path: Path, message: str) -> NoReturn:
        """Note what is wrong, and end the reading of this part."""
        self.note(path, message)
        raise Fault

    def end(self) -> NoReturn:
        """End the reading, with all that was noted."""
        count = len(self.faults)
        listed = "\n".join(f"  {fault}" for fault in self.faults[:LIST_LIMIT])
        more = f"\n  ... and {count - LIST_LIMIT} more" if count > LIST_LIMIT else ""
        raise MappingError(f"The mapping has {count} fault{'' if count == 1 else 's'}:\n{listed}{more}")
