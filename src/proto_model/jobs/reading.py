"""JSON that somebody else wrote: no key twice, no NaN, and messages that say where a value stands."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.jobs.errors import JobError

MAX_BYTES = 64 * 1024 * 1024
MAX_ASSETS = 1000
_MAX_DEPTH = 100

_KINDS: dict[type, str] = {
    dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip


def read_json(path: Path) -> Any:
    """Content of a file of JSON; a JobError says what is wrong, without its values."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise JobError(f"{path} has more than {MAX_BYTES:,} bytes. Give large files by their fileUrl.")
        text = path.read_bytes()
    except OSError as error:
        raise JobError(f"Cannot read the job {path}: {error.strerror}.") from error
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as error:
        raise JobError(f"{path.name} is nested too deep. Correct it.") from error
    except UnicodeDecodeError as error:
        raise JobError(f"{path.name} is not in UTF-8. Save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise JobError(
            f"{path.name}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}. "
            "Correct it."
        ) from error
    except ValueError as error:
        raise JobError(f"{path.name}: {error} Correct it.") from error
    if _is_deep(found):
        raise JobError(f"{path.name} is nested too deep. Correct it.")
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"an object has the key {key[:80]!r} twice.")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError("a number is too large.")
    return value


@dataclass(frozen=True)
class Node:
    """A value of the document, and where it stands: `model.storedModel.modelAssets[0]`."""

    value: Any
    place: str

    @property
    def shown(self) -> str:
        """Its place, in messages."""
        return self.place or "the job"

    def wrong(self, expected: str) -> JobError:
        """The error for a value that is something else than expected."""
        return JobError(f"{self.shown}: {_KINDS[type(self.value)]} given, {expected} expected.")

    def get(self, key: str) -> Node:
        """The value of a key of an object; null where there is none, as ModelOp writes it."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return Node(self.value.get(key), f"{self.place}.{key}" if self.place else key)

    def object(self) -> Node:
        """Itself, if it is an object; an empty one for null."""
        node = Node({} if self.value is None else self.value, self.place)
        if not isinstance(node.value, dict):
            raise self.wrong("an object")
        return node

    def items(self) -> Iterator[Node]:
        """The objects of a list; none for null."""
        listed = [] if self.value is None else self.value
        if not isinstance(listed, list):
            raise self.wrong("a list of objects")
        if len(listed) > MAX_ASSETS:
            raise JobError(
                f"{self.shown} has {len(listed):,} elements, at most {MAX_ASSETS:,} are taken. Pack files "
                "into an archive."
            )
        for position, one in enumerate(listed):
            node = Node(one, f"{self.place}[{position}]")
            if not isinstance(one, dict):
                raise node.wrong("an object")
            yield node

    def text(self) -> str:
        """A text; empty for null."""
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.wrong("text")
        if "\0" in self.value:
            raise JobError(f"{self.shown} has a character that no text may have. Remove it.")
        return self.value

    def flag(self) -> bool | None:
        """True or false; None for null."""
        if self.value is not None and not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def unknown(self, known: Collection[str]) -> Iterator[str]:
        """Sentences about keys that look like known ones; ModelOp's documents have many more keys."""
        folded = {name.casefold(): name for name in known}
        for key in self.value:
            if key in known:
                continue
            near = difflib.get_close_matches(key.casefold(), folded, 1, 0.85)
            if near and folded[near[0]] not in self.value:
                place = f"{self.place}.{key}" if self.place else key
                yield f"{place[:200]} is not used. Is {folded[near[0]]} meant?"
