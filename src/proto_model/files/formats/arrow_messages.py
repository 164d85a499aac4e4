"""Messages of an Arrow stream, held against a limit before Arrow's reader unpacks them.

A record batch is in memory at once, and 60 KB of zstd can become 2 GB of numbers: Arrow allocates whatever
a message announces. What a message becomes stands in its metadata and before each compressed buffer.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from proto_model.errors import InputError
from proto_model.files.formats.blocks import fill
from proto_model.files.transfer import LimitError

_CONTINUATION = b"\xff\xff\xff\xff"
_METADATA_SHARE = 16  # what describes columns takes many times its bytes once it is read
_OLD_COMPRESSION = (
    b"ARROW:experimental_compression"  # how versions before 1.0 said that a batch is compressed
)


class MessageStream(io.RawIOBase):
    """A stream of messages of at most so many bytes, as they come and when they are decompressed."""

    def __init__(self, source: io.RawIOBase, max_bytes: int) -> None:
        super().__init__()
        self._source, self._max_bytes = _LimitedSource(source, max_bytes), max_bytes
        self._dictionaries: dict[int, int] = {}  # bytes of each, which the reader holds until the end
        self._messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(self._source, mode="r"))
        self._parts: list[memoryview] = []

    def readable(self) -> bool:
        """Always true."""
        return True

    def read(self, n_bytes: int = -1, /) -> Any:
        """Next bytes of the message at hand, at most so many; Arrow never asks for parts of two."""
        if not self._parts:
            self._parts = self._next_message()
        part = self._parts.pop(0)
        if len(part) > n_bytes:
            self._parts.insert(0, part[n_bytes:])
        return part[:n_bytes]

    def check_end(self) -> None:
        """Raise InputError where the stream has no end, or something comes after it."""
        if not self._source.has_end:
            raise InputError(
                "The Arrow stream has no end mark. Was it cut? Its writer has to be closed, which writes one."
            )
        while data := self._source.read(min(1 << 16, self._max_bytes)):
            if data.strip(b"\0"):
                raise InputError(
                    "The Arrow stream goes on after its end. Is it several streams one after the other? Send "
                    "each on its own."
                )

    def rest(self) -> bytes:
        """What follows the messages."""
        if not self._source.has_end:
            return b""
        found = bytearray()
        while data := self._source.read(min(1 << 16, self._max_bytes)):
            found += data
            self._limit_metadata(len(found))
        return bytes(found)

    def _next_message(self) -> list[memoryview]:
        """Head and body of the next message, nothing at the end."""
        try:
            message = self._messages.read_next_message()
        except StopIteration:
            return [memoryview(b"")]
        metadata, body = message.metadata.to_pybytes(), memoryview(message.body or b"")
        self._limit_metadata(len(metadata))
        if message.type in ("record batch", "dictionary"):
            try:
                self._limit_body(metadata, body, message.type == "dictionary")
            except (struct.error, IndexError) as error:
                raise InputError("The Arrow file is damaged: cannot read one of its messages.") from error
        head = _CONTINUATION + struct.pack("<i", len(metadata)) + metadata
        return [memoryview(head), body] if len(body) else [memoryview(head)]

    def _limit_body(self, metadata: bytes, body: memoryview, is_dictionary: bool) -> None:
        (message,) = struct.unpack_from("<I", metadata)
        batch = _target(metadata, _field(metadata, message, 2))
        number, is_more = 0, False
        if is_dictionary:
            number_at, more_at = _field(metadata, batch, 0), _field(metadata, batch, 2)
            number = struct.unpack_from("<q", metadata, number_at)[0] if number_at else 0
            is_more = bool(more_at and metadata[more_at])
            batch = _target(metadata, _field(metadata, batch, 1))
        buffers = _compressed_buffers(metadata, batch)
        n_bytes = sum(_unpacked_bytes(body, start, length) for start, length in buffers) or len(body)
        if is_dictionary:
            n_bytes += self._dictionaries.get(number, 0) if is_more else 0
            self._dictionaries[number] = n_bytes
            n_bytes = sum(self._dictionaries.values())
        if n_bytes > self._max_bytes:
            raise _too_large(n_bytes, self._max_bytes)

    def _limit_metadata(self, n_bytes: int) -> None:
        most = self._max_bytes // _METADATA_SHARE
        if n_bytes > most:
            raise LimitError(
                f"What the Arrow file says of its columns or of a batch takes {n_bytes} bytes. The limit is "
                f"{most}, 1/{_METADATA_SHARE} of PROTO_MODEL_FILES_MAX_BATCH_BYTES."
            )


class _LimitedSource(io.RawIOBase):
    """Gives as many bytes as are asked for, unless these are too many."""

    def __init__(self, source: io.RawIOBase, max_bytes: int) -> None:
        super().__init__()
        self._source, self._max_bytes = source, max_bytes
        self.has_end = True  # until something is asked for that is not there

    def readable(self) -> bool:
        return True

    def read(self, n_bytes: int = -1, /) -> Any:
        if n_bytes > self._max_bytes:
            raise _too_large(n_bytes, self._max_bytes)
        block = bytearray(n_bytes)
        n_read = fill(self._source, block)
        if n_read < n_bytes:
            self.has_end = False
            del block[n_read:]
        return block


def _too_large(n_bytes: int, max_bytes: int) -> LimitError:
    return LimitError(
        f"A record batch has {n_bytes} bytes. The limit is {max_bytes} "
        "(PROTO_MODEL_FILES_MAX_BATCH_BYTES). Write the file in smaller batches."
    )


def batches_of_footer(footer: bytes) -> int:
    """Number of record batches that a file's footer lists, by Arrow's File.fbs; -1 where it is damaged."""
    try:
        (table,) = struct.unpack_from("<I", footer)
        batches_at = _field(footer, table, 3)
        return int(struct.unpack_from("<I", footer, _target(footer, batches_at))[0]) if batches_at else 0
    except struct.error:
        return -1


def _compressed_buffers(metadata: bytes, batch: int) -> list[tuple[int, int]]:
    """Where in a message's body its buffers are, by Arrow's Message.fbs; none if they are not compressed."""
    buffers_at, compression_at = _field(metadata, batch, 2), _field(metadata, batch, 3)
    if not buffers_at or not (compression_at or _OLD_COMPRESSION in metadata):
        return []
    vector = _target(metadata, buffers_at)
    (n_buffers,) = struct.unpack_from("<I", metadata, vector)
    places = struct.unpack_from(f"<{2 * n_buffers}q", metadata, vector + 4)
    return list(zip(places[::2], places[1::2], strict=True))


def _field(data: bytes, table: int, number: int) -> int:
    """Place of a field of a FlatBuffers table, 0 where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (n_bytes,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < n_bytes else 0
    return table + offset if offset else 0


def _target(data: bytes, place: int) -> int:
    """Where an offset leads."""
    return int(place + struct.unpack_from("<I", data, place)[0])


def _unpacked_bytes(body: memoryview, start: int, length: int) -> int:
    """Bytes of a buffer once it is decompressed, which stand before it; -1 where it was left as it is."""
    if not 0 <= start <= len(body) - 8 or length < 8:
        return 0
    n_bytes: int = struct.unpack_from("<q", body, start)[0]
    return n_bytes if n_bytes >= 0 else length
