"""Messages of an Arrow stream on their way to Arrow's reader, held against a limit before it unpacks them."""

from __future__ import annotations

import io
import struct

from proto_model.errors import InputError
from proto_model.files.transfer import LimitError

__all__ = ["MessageStream"]

_CONTINUATION = b"\xff\xff\xff\xff"
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # of MessageHeader in Arrow's Message.fbs
_LAST_BYTES = 6


class MessageStream(io.RawIOBase):
    """A stream of messages, each read as a whole only when it is compressed.

    Parameters
    ----------
    source : binary file
        Read once, to its end.
    max_bytes : int
        Most bytes of a message, as it comes and when it is decompressed.
    """

    def __init__(self, source: io.RawIOBase, max_bytes: int) -> None:
        super().__init__()
        self._source, self._max_bytes = source, max_bytes
        self._ahead = memoryview(b"")
        self._left = 0  # bytes of the message at hand that are still in the source
        self._ended = False
        self._last = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def skip(self, prefix: bytes, n_bytes: int) -> bool:
        """Pass over the first bytes of all where they begin with a prefix; whether they do."""
        first = self._take(n_bytes)
        if first.startswith(prefix):
            return True
        self._ahead = memoryview(first)
        return False

    def read(self, n_bytes: int = -1, /) -> bytes:
        """So many bytes, fewer only at the end; raises LimitError when a message is too large."""
        if n_bytes > self._max_bytes:
            raise self._too_large(n_bytes)
        parts: list[bytes] = []
        while n_bytes > 0:
            if not self._left and not self._ended:
                self._begin()
            part = self._take(n_bytes if self._ended else min(n_bytes, self._left))
            if not part:
                break
            parts.append(part)
            self._left -= len(part)
            n_bytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drain(self) -> bytes:
        """Read what is left; the last bytes of all."""
        while self._take(1 << 16):
            pass
        return self._last

    def _begin(self) -> None:
        """Look at the next message without taking it."""
        prefix = self._take(4)
        if prefix == _CONTINUATION:
            prefix += self._take(4)
        n_bytes = struct.unpack("<i", prefix[-4:])[0] if len(prefix) >= 4 else 0
        if n_bytes <= 0:
            self._ended, self._ahead = True, memoryview(prefix)
            return
        if n_bytes > self._max_bytes:
            raise self._too_large(n_bytes)
        metadata = self._take(n_bytes)
        head = prefix + metadata
        try:
            body_bytes, buffers = _layout(metadata)
        except (struct.error, IndexError) as error:
            raise InputError("The Arrow file is damaged: one of its messages cannot be read.") from error
        if body_bytes > self._max_bytes:
            raise self._too_large(body_bytes)
        self._left = len(head) + body_bytes
        if buffers:
            body = self._take(body_bytes)
            n_unpacked = sum(_unpacked_bytes(body, start, length) for start, length in buffers)
            if n_unpacked > self._max_bytes:
                raise self._too_large(n_unpacked)
            head += body
        self._ahead = memoryview(head)

    def _take(self, n_bytes: int) -> bytes:
        """So many bytes of what was looked at and of the source, fewer only at the end."""
        block = bytearray(n_bytes)
        start = min(n_bytes, len(self._ahead))
        block[:start] = self._ahead[:start]
        self._ahead = self._ahead[start:]
        looked_at = start
        with memoryview(block) as view:
            while start < n_bytes and (n_read := self._source.readinto(view[start:])):
                start += n_read
        del block[start:]
        if start > looked_at:
            self._last = (self._last + block[looked_at:][-_LAST_BYTES:])[-_LAST_BYTES:]
        return bytes(block)

    def _too_large(self, n_bytes: int) -> LimitError:
        return LimitError(
            f"A record batch of {n_bytes} bytes, at most {self._max_bytes} are accepted "
            "(PROTO_MODEL_FILES_MAX_BATCH_BYTES). Write the file in smaller batches."
        )


def _layout(metadata: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Bytes of a message's body, and where in it the compressed buffers are, by Arrow's Message.fbs."""
    (root,) = struct.unpack_from("<I", metadata)
    body_at, header_at, kind_at = (_field(metadata, root, number) for number in (3, 2, 1))
    body_bytes = struct.unpack_from("<q", metadata, body_at)[0] if body_at else 0
    kind = metadata[kind_at] if kind_at else 0
    if body_bytes < 0 or kind not in (_DICTIONARY_BATCH, _RECORD_BATCH) or not header_at:
        return max(body_bytes, 0), []
    batch = _target(metadata, header_at)
    if kind == _DICTIONARY_BATCH:
        batch = _target(metadata, _field(metadata, batch, 1))
    buffers_at, compression_at = _field(metadata, batch, 2), _field(metadata, batch, 3)
    if not compression_at or not buffers_at:
        return body_bytes, []
    vector = _target(metadata, buffers_at)
    (n_buffers,) = struct.unpack_from("<I", metadata, vector)
    places = struct.unpack_from(f"<{2 * n_buffers}q", metadata, vector + 4)
    return body_bytes, list(zip(places[::2], places[1::2], strict=True))


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


def _unpacked_bytes(body: bytes, start: int, length: int) -> int:
    """Bytes of a buffer once it is decompressed, which stand before it; -1 where it was left as it is."""
    if not 0 <= start <= len(body) - 8 or length < 8:
        return 0
    n_bytes: int = struct.unpack_from("<q", body, start)[0]
    return n_bytes if n_bytes >= 0 else length
