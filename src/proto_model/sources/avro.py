"""Avro schemas as contracts: what of a record is not as its schema says, in words without its values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proto_model.sources.errors import SourceError

MAX_SCHEMA_BYTES = 4 * 1024 * 1024
_MAX_NAMED = 3

_KINDS: dict[type, str] = {
    type(None): "null", bool: "a boolean", int: "a whole number", float: "a number", str: "text",
    list: "a list", dict: "an object",
}  # fmt: skip


@dataclass(frozen=True)
class AvroSchema:
    """An Avro schema that was read; `content` is its file."""

    name: str
    content: bytes
    parsed: Any = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> AvroSchema:
        """Schema of a file; a SourceError says why it is none."""
        try:
            if path.stat().st_size > MAX_SCHEMA_BYTES:
                raise SourceError(f"The schema {path} has more than {MAX_SCHEMA_BYTES:,} bytes.")
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"Cannot read the schema {path}: {error.strerror}.") from error
        return cls.of(content, path.name)

    @classmethod
    def of(cls, content: bytes, name: str) -> AvroSchema:
        """Schema of the bytes of a file."""
        try:
            from fastavro.schema import SchemaParseException, UnknownType, parse_schema
        except ModuleNotFoundError as error:
            raise SourceError(
                "Avro schemas need fastavro, which is not installed. Install it with: "
                'pip install "proto-model-turbo[sources]"'
            ) from error
        try:
            parsed = parse_schema(json.loads(content))
        except UnknownType as error:
            raise SourceError(
                f"The schema {name} names the type {error.name!r}, which it does not define."
            ) from error
        except (
            SchemaParseException,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            raise SourceError(f"{name} is no Avro schema: {error}. Correct it.") from error
        return cls(name, content, parsed)

    def fault(self, record: Any) -> str:
        """What of a record is not as the schema says; empty if it all is."""
        from fastavro.validation import ValidationError, validate

        try:
            validate(record, self.parsed, disable_tuple_notation=True)
        except ValidationError as error:
            return self._words(record, error)
        except (TypeError, ValueError, OverflowError, RecursionError, AttributeError):
            # What prepares a date or a decimal raises on other types.
            return f"the record does not fit {self.name}"
        return ""

    @property
    def fields(self) -> dict[str, str]:
        """Type of each field of a record that has a plain one, by name: null in a union does not count."""
        if not isinstance(self.parsed, dict) or self.parsed.get("type") != "record":
            return {}
        return {one["name"]: _plain(one["type"]) for one in self.parsed["fields"]}

    def _words(self, record: Any, error: Any) -> str:
        faults = error.errors
        place = faults[0].field.partition(".")[2] if faults and faults[0].field else ""
        wanted = list(dict.fromkeys(_wanted(one.schema) for one in faults if one.field == faults[0].field))
        expected = " or ".join([*wanted[:_MAX_NAMED], *(["..."] if len(wanted) > _MAX_NAMED else [])])
        if not place:
            return f"the record is {_kind(record)}, {expected} expected"
        if isinstance(record, dict) and "." not in place and place not in record:
            return f"{place!r} is missing, {expected} expected"
        return f"{place!r} is {_kind(faults[0].datum)}, {expected} expected"


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), f"of type {type(value).__name__}")


def _wanted(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(_wanted(one) for one in schema)
    if not isinstance(schema, dict):
        return str(schema)
    if schema["type"] == "enum":
        shown = ", ".join(schema["symbols"][:_MAX_NAMED])
        return f"one of {shown}{', ...' if len(schema['symbols']) > _MAX_NAMED else ''}"
    return str(schema.get("logicalType", schema["type"]))


def _plain(schema: Any) -> str:
    if isinstance(schema, list):
        kinds = {_plain(one) for one in schema} - {"null"}
        return kinds.pop() if len(kinds) == 1 else ""
    return _plain(schema["type"]) if isinstance(schema, dict) else str(schema)
