"""What a file format is: everything that the rest of the package knows of it, in one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from proto_model.files.columns import ColumnPlan
from proto_model.files.rows import Rows
from proto_model.files.transfer import FileSettings
from proto_model.schema import ModelSchema

Codec = Literal["gzip", "zstd"]

CODECS: dict[str, Codec] = {"gz": "gzip", "zst": "zstd"}


class ReadOptions(Protocol):
    """What a reader needs of a request's parameters."""

    @property
    def passthrough(self) -> tuple[str, ...]:
        """Columns to copy."""

    @property
    def explain(self) -> bool:
        """Whether each row will take long, so that blocks should be small."""


class Reader(Protocol):
    """Reads the rows of one file, block by block.

    Attributes
    ----------
    place : {"line", "row"}
        What messages count: lines of a text file, rows of the others.
    first_line : int
        Line of the first block.
    """

    place: str
    first_line: int
    plan: ColumnPlan
    passthrough_fields: list[pa.Field]

    def blocks(self) -> Iterator[Any]:
        """Whole rows, not parsed yet, in order."""

    def parse(self, block: Any) -> Rows:
        """Rows of a block; called by several threads at once."""


class Writer(Protocol):
    """Writes the output's batches in one format; its beginning is written when it is made."""

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Form of a batch that `write` takes; called by several threads at once."""

    def write(self, encoded: Any) -> None:
        """Append a batch; called in order."""

    def close(self) -> None:
        """Write what ends the file."""


@dataclass(frozen=True)
class Format:
    """One way to store rows in a file.

    Parameters
    ----------
    name : str
        As in requests.
    title : str
        As in documents.
    suffixes : tuple of str
        Of file names, without the dot.
    media_types : tuple of str
        All are recognised; the first one is sent with an upload whose URL signs it.
    reader : callable (source, schema, options, settings) -> Reader
        The source is an unbuffered binary file.
    writer : callable (columns, schema, sink) -> Writer
        The sink is an Arrow output stream.
    magic : bytes
        First bytes of each such file; none for text.
    begins : callable (bytes) -> bool
        For text: whether the first bytes, without byte order mark and spaces, can be of this format only.
    any_text : bool
        Whether text is taken for this format when nothing says otherwise.
    seekable : bool
        Whether the reader moves in the file; a stream then goes through a temporary file.
    compressible : bool
        Whether requests may ask for the format compressed as a whole.
    holds_json : bool
        Whether a cell can be any JSON value; the others get such a value as text.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    reader: Callable[[Any, ModelSchema, ReadOptions, FileSettings], Reader]
    writer: Callable[[pa.Schema, ModelSchema, Any], Writer]
    magic: bytes = b""
    begins: Callable[[bytes], bool] = lambda head: False
    any_text: bool = False
    seekable: bool = False
    compressible: bool = True
    holds_json: bool = False

    @property
    def names(self) -> list[str]:
        """Names in requests: plain, and compressed where that is possible."""
        return [self.name, *(f"{self.name}.{suffix}" for suffix in CODECS if self.compressible)]


@dataclass(frozen=True, repr=False)
class FileFormat:
    """Format of the rows and, around it, a compression."""

    format: Format
    codec: Codec | None = None

    def __str__(self) -> str:
        """Name as in requests: `csv`, `csv.gz`."""
        return self.format.name + "".join(f".{s}" for s, codec in CODECS.items() if codec == self.codec)

    __repr__ = __str__

    @property
    def media_type(self) -> str:
        """Value for a signed `Content-Type`."""
        return f"application/{self.codec}" if self.codec else self.format.media_types[0]
