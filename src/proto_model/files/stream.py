"""A source as its format's reader wants it: decompressed, counted, its format found out."""

from __future__ import annotations

import contextlib
import io
from typing import IO, Any

import pyarrow as pa

from proto_model.errors import InputError
from proto_model.files.formats import FileFormat, codec_of, find_format, parse_format
from proto_model.files.spool import ArrivingFile, open_unnamed, write_all
from proto_model.files.transfer import Download, FileSettings, LimitError

__all__ = ["first_line", "open_stream"]

_HEAD_BYTES = 4096


def open_stream(
    source: Any, name: str, input_format: str, settings: FileSettings, stack: contextlib.ExitStack
) -> tuple[Any, FileFormat]:
    """What a format's reader reads, and the format; the stack closes what had to be opened.

    Raises
    ------
    InputError
        If the content is no known format, or not the one that the request gives.
    """
    given = parse_format(input_format, "input_format") if input_format else None
    content_type = source.content_type if isinstance(source, Download) else ""
    stream = _Peeked(source)
    codec = codec_of(stream.peek(_HEAD_BYTES))
    if given is not None and given.codec != codec and (codec or stream.peek(1)):
        raise InputError(f"input_format says {given}, but the file is {codec or 'not'} compressed.")
    if codec:
        unpacked = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)
        stream = _Peeked(_Unpacked(unpacked, codec, settings.max_decompressed_bytes))
    found = find_format(stream.peek(_HEAD_BYTES), name, content_type, given.format if given else None)
    if not found.seekable:
        return stream, FileFormat(found, codec)
    if codec:
        return stack.enter_context(_copy(stream, settings)), FileFormat(found)
    if isinstance(source, Download):
        return stack.enter_context(ArrivingFile(source, settings, stream.peeked)), FileFormat(found)
    source.seek(0)
    return source, FileFormat(found)


class _Peeked(io.RawIOBase):
    """A stream whose first bytes were looked at."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self.peeked = b""

    def readable(self) -> bool:
        return True

    def peek(self, n_bytes: int) -> bytes:
        """First bytes, as many as there are up to a number; before anything is read."""
        while len(self.peeked) < n_bytes and (data := self._source.read(n_bytes - len(self.peeked))):
            self.peeked += data
        return self.peeked

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self.peeked:
            n_bytes = min(len(view), len(self.peeked))
            view[:n_bytes] = self.peeked[:n_bytes]
            self.peeked = self.peeked[n_bytes:]
            return n_bytes
        return int(self._source.readinto(view) or 0)


class _Unpacked(io.RawIOBase):
    """A decompressed stream, counted."""

    def __init__(self, source: Any, codec: str, max_bytes: int) -> None:
        super().__init__()
        self._source, self._codec, self._left = source, codec, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            n_bytes = int(self._source.readinto(view))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"The {self._codec} file is damaged or cut: {first_line(error)}") from error
        self._left -= n_bytes
        if self._left < 0:
            raise LimitError(
                "The file is too large after decompression (PROTO_MODEL_FILES_MAX_DECOMPRESSED_BYTES)."
            )
        return n_bytes


def _copy(stream: io.RawIOBase, settings: FileSettings) -> IO[bytes]:
    """Temporary file with all of a stream."""
    file = open_unnamed(settings)
    try:
        while data := stream.read(1 << 20):
            write_all(file, memoryview(data))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def first_line(error: BaseException) -> str:
    """First line of a library's message, cut to a readable length."""
    return str(error).partition("\n")[0][:300]
