"""What a file format is: everything that the rest of the package knows of it, in one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from proto_model.batches.rows import ColumnPlan, Rows
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema

Codec = Literal["gzip", "zstd"]

CODECS: dict[str, Codec] = {"gz": "gzip", "zst": "zstd"}


class Reader(Protocol):
    """Reads the rows of one file, block by block."""

    place: str  # what messages count: a "line" of a text file, a "row" of the others
    first_line: int  # of the first block
    passthrough_fields: list[pa.Field]

    @property
    def plan(self) -> ColumnPlan:
        """What is read and what is left out; complete when all blocks were parsed."""

    def blocks(self) -> Iterator[Any]:
        """Whole rows, not parsed yet, in order."""

    def parse(self, block: Any) -> Rows:
        """Rows of a block; called by several threads at once."""


class Writer:
    """Writes the output's batches in one format; its beginning is written when it is made."""

    def __init__(self, columns: pa.Schema, schema: ModelSchema, sink: Any) -> None:
        self._columns, self._sink = columns, sink

    def encode(self, batch: pa.RecordBatch) -> Any:
        """Form of a batch that `write` takes; called by several threads at once."""
        return batch

    def write(self, encoded: Any) -> None:
        """Append a batch; called in order."""
        self._sink.write(encoded)

    def close(self) -> None:
        """Write what ends the file."""
        self._sink.close()


@dataclass(frozen=True)
class Format:
    """One way to store rows in a file."""

    name: str  # as in requests
    title: str  # as in documents
    suffixes: tuple[str, ...]  # of file names, without the dot
    media_types: tuple[str, ...]  # all are recognised; the first is sent with an upload whose URL signs it
    #: Of an unbuffered binary file; calls its last argument often, from several threads, which may raise.
    reader: Callable[[Any, ModelSchema, Parameters, FileSettings, Callable[[], None]], Reader]
    #: Of the output's columns and an Arrow output stream.
    writer: Callable[[pa.Schema, ModelSchema, Any], Writer]
    magic: bytes = b""  # first bytes of each such file; none for text
    #: Whether a column of this type can be written.
    writes: Callable[[pa.DataType], bool] = lambda kind: True
    #: For text: whether it can be of this format only, by its first bytes without byte order mark and spaces.
    begins: Callable[[bytes], bool] = lambda text: False
    seekable: bool = False  # the reader moves in the file, so a stream goes through a temporary file
    compressible: bool = True  # as a whole, when a request asks for it
    holds_json: bool = False  # a cell can be any JSON value; in other formats such a value becomes text

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
