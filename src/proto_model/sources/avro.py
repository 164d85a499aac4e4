"""Avro schemas as contracts: what of a record is not as its schema says, in words without its values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
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
    raw: Any = field(repr=False)

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
        """Schema of the bytes of a file, which have to be JSON; `checked` says whether they are a schema."""
        try:
            return cls(name, content, json.loads(content))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{name} is no Avro schema: {error}. Correct it.") from error

    def checked(self) -> AvroSchema:
        """The same; a SourceError says that it is no schema, or that records cannot be checked here."""
        assert self.parsed is not None
        return self

    @cached_property
    def parsed(self) -> Any:
        """What fastavro made of it."""
        try:
            from fastavro.schema import SchemaParseException, UnknownType, parse_schema
        except ModuleNotFoundError as error:
            raise SourceError(
                "To check Avro schemas, fastavro is needed. Install it with: "
                'pip install "proto-model-turbo[sources]"'
            ) from error
        try:
            return parse_schema(self.raw)
        except UnknownType as error:
            raise SourceError(
                f"The schema {self.name} names the type {error.name!r}, which it does not define."
            ) from error
        except (
            SchemaParseException,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            raise SourceError(f"{self.name} is no Avro schema: {error}. Correct it.") from error

    def fault(self, record: Any) -> str:
        """What of a record is not as the schema says; empty if it all is."""
        from fastavro.validation import ValidationError, validate

        try:
            validate(record, self.parsed, disable_tuple_notation=True)  # type: ignore[call-arg]  # its stub lacks it
        except ValidationError as error:
            return self._words(record, error)
        except (TypeError, ValueError, OverflowError, RecursionError, AttributeError):
            # What prepares a date or a decimal raises on other types.
            return f"the record does not fit {self.name}"
        return ""

    @property
    def is_array(self) -> bool:
        """Whether it is of lists."""
        return isinstance(self.raw, dict) and self.raw.get("type") == "array"

    @property
    def fields(self) -> dict[str, str]:
        """Type of each field of a record by name, null aside; empty if it is no plain one."""
        return {name: kind for name, (kind, _) in self.columns.items()}

    @property
    def columns(self) -> dict[str, tuple[str, bool]]:
        """The same, and whether it may be null."""
        fields = self.raw.get("fields") if isinstance(self.raw, dict) else None
        return {
            one["name"]: (_plain(one.get("type")), "null" in _list(one.get("type")))
            for one in (fields if isinstance(fields, list) else [])
            if isinstance(one, dict) and isinstance(one.get("name"), str)
        }

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


def _list(schema: Any) -> list[Any]:
    return schema if isinstance(schema, list) else [schema]


def _plain(schema: Any) -> str:
    if isinstance(schema, list):
        kinds = {_plain(one) for one in schema} - {"null"}
        return kinds.pop() if len(kinds) == 1 else ""
    return (
        _plain(schema.get("type")) if isinstance(schema, dict) else schema if isinstance(schema, str) else ""
    )
