"""Where rows come from and go to: a path in one of Spark's formats, or a table of its catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.errors import InputError, listed
from proto_model.spark.scoring.refusals import refusals_in_words

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

FORMATS = ("parquet", "orc", "csv", "json", "delta", "iceberg")
UNREAD = "_unread_row"
"""Column that holds a row of text which could not be taken apart."""

_TABLE = "table:"
_SUFFIXES = {
    ".parquet": "parquet",
    ".orc": "orc",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
_PACKED = (".gz", ".bz2", ".zst", ".lz4", ".snappy")
_FILES = ("parquet", "orc", "csv", "json")
_TEXT = ("csv", "json")
# RFC 4180, as every other reader and writer of this project; Spark's own escape is a backslash.
_CSV = {"header": "true", "quote": '"', "escape": '"', "multiLine": "true", "enforceSchema": "false"}
_CSV_OUT = {"header": "true", "quote": '"', "escape": '"', "emptyValue": ""}
_JSON_OUT = {"ignoreNullFields": "false"}


@dataclass(frozen=True)
class Place:
    """A path with its format, or the name of a table, which knows its own."""

    name: str
    format: str = ""  # nothing: a table
    options: Mapping[str, str] = field(default_factory=dict)  # Spark's own, of this format

    @classmethod
    def of(cls, text: str, format: str | None, options: Mapping[str, str], otherwise: str = "") -> Place:
        """What `table:NAME` or a path means; without a format, that of the name counts, or `otherwise`."""
        if text.startswith(_TABLE):
            if format:
                raise InputError(f"{text} is a table, which has a format of its own. Leave out the format.")
            if not text.removeprefix(_TABLE).strip():
                raise InputError("table: names no table. Give one such as table:sales.customers.")
            return cls(text.removeprefix(_TABLE).strip(), "", options)
        if format and format not in FORMATS:
            raise InputError(f"Spark has no format {format!r} here. Choose one of {', '.join(FORMATS)}.")
        return cls(text, format or _format_of(text) or otherwise or "parquet", options)

    @property
    def is_table(self) -> bool:
        """Whether it is a table of the catalog."""
        return not self.format

    @property
    def is_files(self) -> bool:
        """Whether it is a folder of plain files, which keeps no history."""
        return self.format in _FILES

    @property
    def kind(self) -> str:
        """The format for people."""
        return self.format or "table"

    def __str__(self) -> str:
        """As commands name it."""
        return f"{_TABLE}{self.name}" if self.is_table else self.name


def _format_of(path: str) -> str:
    """Format of a path by its name, or by the files of a local folder; nothing if neither tells."""
    name = path.rstrip("/").lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    found = next((format for suffix, format in _SUFFIXES.items() if name.endswith(suffix)), "")
    folder = Path(path.removeprefix("file://"))
    if found or not folder.is_dir():
        return found
    if (folder / "_delta_log").is_dir():
        return "delta"
    files = (file.name for file in sorted(folder.rglob("*.*")) if file.name[0] not in "._")
    return next(filter(None, map(_format_of, files)), "")


def read_schema(spark: SparkSession, place: Place, marking: bool) -> StructType:
    """Columns of a place, as Spark finds them; of JSON by reading all of it, of CSV as text from the header.

    Text has a column more, `UNREAD`, when rows that cannot be read are to be marked.
    """
    from pyspark.sql.types import StringType, StructType

    with refusals_in_words():
        reader: Any = spark.read
        if place.is_table:
            return StructType(reader.table(place.name).schema.fields)
        if place.format == "csv":
            reader = reader.options(**{**_CSV, "enforceSchema": "true"})
        schema = reader.format(place.format).options(**place.options).load(place.name).schema
    known = StructType([item for item in schema.fields if item.name != "_corrupt_record"])
    return known.add(UNREAD, StringType()) if marking and place.format in _TEXT else known


def read(
    spark: SparkSession, place: Place, schema: StructType, marking: bool, *, stream: bool = False
) -> DataFrame:
    """Rows of a place with the schema that `read_schema` gave."""
    reader: Any = spark.readStream if stream else spark.read
    with refusals_in_words():
        if place.is_table:
            return reader.options(**place.options).table(place.name)
        if place.is_files:
            reader = reader.schema(schema)
        if place.format in _TEXT:
            mode = (
                {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": UNREAD}
                if marking
                else {"mode": "FAILFAST"}
            )
            reader = reader.options(**mode)
        if place.format == "csv":
            reader = reader.options(**_CSV)
        return reader.format(place.format).options(**place.options).load(place.name)


def written(writer: Any, place: Place, partition_by: Sequence[str]) -> Any:
    """A writer of Spark's, of a batch or a stream, that is told about a place."""
    if not place.is_table:
        writer = writer.format(place.format)
        own = {"csv": _CSV_OUT, "json": _JSON_OUT}.get(place.format, {})
        writer = writer.options(**own)
    writer = writer.options(**place.options)
    return writer.partitionBy(*partition_by) if partition_by else writer


def copied_columns(
    names: Sequence[str], passthrough: Sequence[str], partition_by: Sequence[str]
) -> list[str]:
    """Names of the columns to copy, of an input's that may have spaces around them; `*` copies all.

    Raises InputError if one is missing.
    """
    there = [name.strip() for name in names if name != UNREAD]
    copied = there if "*" in passthrough else [*passthrough]
    copied = [*copied, *(name for name in partition_by if name not in copied)]
    missing = [name for name in copied if name not in there]
    if missing:
        raise InputError(f"Columns missing in the input: {listed(missing)}. It has {listed(there)}.")
    return copied
