"""What the parts of a mapping are made of, and what is wrong with them: each fault with its place.

All faults are noted, so that they are told at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NoReturn

from mapper.application.document import Document, Path
from mapper.application.expression import Expression, ExpressionError, parse
from mapper.application.functions import Kind, NotComputableError, spelled
from mapper.application.mapping import Unit
from mapper.errors import LIST_LIMIT, MappingError, shown, suggestion
from mapper.mapping.schema import Feature, ModelSchema, Value
from mapper.mapping.values import LARGEST, compile_fields

MAX_NAME = 100


class Fault(Exception):
    """A part that cannot be read; its fault is noted."""


class Notes:
    """The faults of a document, and how its values are read for a model's schema."""

    def __init__(self, document: Document, schema: ModelSchema) -> None:
        self.document = document
        self.faults: list[str] = []
        self.schema = schema
        self.features = {feature.name: feature for feature in schema.features}
        self.units: dict[str, Unit] = {}
        self._rules = {rule.name: rule for rule in compile_fields(schema)}

    def text(self, keys: dict[str, Any], path: Path, key: str) -> str:
        """Text of a key, empty if there is none."""
        text = keys.get(key)
        if isinstance(text, dict | list):
            self.note((*path, key), f"{shown(text)} given, a text expected")
        return "" if text is None or isinstance(text, dict | list) else spelled(text)

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
            self.note((*path, key), f"no such key; {suggestion(key, known)}")

    def check_name(self, path: Path, name: str) -> None:
        """Fail unless a name can be shown."""
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
            self.fail(path, f"a name of 1 to {MAX_NAME} printable characters expected")

    def expression(self, source: Any, kinds: Table[str, Kind], path: Path) -> Expression:
        """An expression over fields of these types."""
        if not isinstance(source, str | int | float):
            self.fail(path, f"{shown(source)} given, an expression expected")
        try:
            # True and False are words of expressions, too, but YAML has read them
            expression = parse(str(source) if isinstance(source, bool) else spelled(source), kinds)
        except ExpressionError as error:
            self.fail(path, str(error))
        if expression.kind is None:
            self.fail(path, "it is always missing")
        return expression

    def unit_called(self, name: Any, path: Path) -> Unit:
        """The unit of a name."""
        unit = self.units.get(name) if isinstance(name, str) else None
        if unit is None:
            known = ", ".join(self.units) or "none"
            self.fail((*path, "unit"), f"no unit {shown(name)} under `units`; known: {known}")
        return unit

    def no_feature(self, name: object) -> str:
        """The sentence for a feature that the model does not have."""
        near = get_close_matches(str(name)[:200], self.features, 1)
        hint = f" Did you mean {shown(near[0])}?" if near else ""
        return f"the model has no feature {shown(name)}.{hint}"

    def value_of(self, feature: str, value: Any, path: Path) -> Value:
        """A value as the model gets it; one that training never saw is likely a mistake."""
        rule = self._rules[feature]
        if isinstance(value, dict | list):
            self.fail(path, f"{shown(value)} given, a value expected")
        if rule.accepts(value):
            return value  # type: ignore[no-any-return]  # accepted by the rule
        verdict = rule.read(value)
        if (verdict.is_fault and verdict.kind) or verdict.kind == "unseen_category":
            self.fail(path, f"the feature {shown(feature)}: {verdict.message}")
        return verdict.value  # type: ignore[no-any-return]

    def read(self, outside: Feature, value: Any, path: Path) -> Any:
        """A value of a field as its expressions and lookups see it."""
        [rule] = compile_fields(replace(self.schema, features=(outside,)))
        if rule.accepts(value):
            return value
        verdict = rule.read(value)
        if verdict.value is None:
            self.fail(path, verdict.message or "a value is required")
        return verdict.value

    def number(self, keys: dict[str, Any], path: Path, key: str, default: float | None) -> float:
        """Number under a key, or the value of an expression without fields."""
        value = keys.get(key, default)
        if isinstance(value, str):
            expression = self.expression(value, {}, (*path, key))
            try:
                value = expression.value({})
            except NotComputableError as error:
                self.fail((*path, key), str(error))
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            self.fail((*path, key), f"{shown(value)} given, a number such as 0.001 or 5/9 expected")
        return float(value) if math.isfinite(value) else 0.0

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
