"""Bytes in as a format's reader wants them, bytes out counted and digested, and their temporary files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from proto_model.errors import InputError
from proto_model.files.formats import FileFormat, codec_of, find_format, parse_format
from proto_model.files.transfer import Download, FileSettings, LimitError, check_descriptors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_HEAD_BYTES = 4096
_TAIL_BYTES = 1 << 20  # holds the footer of all but the largest Parquet files


def open_stream(
    source: Any, name: str, input_format: str, settings: FileSettings, stack: contextlib.ExitStack
) -> tuple[Any, FileFormat]:
    """What a format's reader reads, and the format; the stack closes what had to be opened.

    Raises InputError if the content is no known format, or not the one that the request gives.
    """
    given = parse_format(input_format, "input_format")
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
    if not codec and not isinstance(source, Download):
        source.seek(0)
        return source, FileFormat(found)
    size, tail = None, b""
    if not codec:
        size, tail = source.total_bytes, source.tail(_TAIL_BYTES)
    return stack.enter_context(_Arriving(stream, size, tail, settings)), FileFormat(found)


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


class _Arriving(io.RawIOBase):
    """A stream that can be read anywhere, while a thread copies it to a temporary file.

    A read waits until its bytes are there; what `tail` holds, the end of the file, is there at once.
    """

    def __init__(self, stream: io.RawIOBase, size: int | None, tail: bytes, settings: FileSettings) -> None:
        super().__init__()
        self._stream, self._size, self._tail = stream, size, tail
        self._file = open_unnamed(settings)
        self._n_bytes = self._position = 0
        self._stopped = False
        self._arrived = threading.Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="download")
        self._copying = self._thread.submit(self._copy)
        self._copying.add_done_callback(lambda _: self._add(0))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            if self._size is None:  # nobody announced it
                self._copying.result()
                self._size = self._n_bytes
            offset += self._size
        self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        in_tail = self._position - (self._size or 0) + len(self._tail)
        if self._tail and in_tail >= 0:
            data = self._tail[in_tail : in_tail + len(view)]
        else:
            end = self._position + len(view)
            with self._arrived:
                self._arrived.wait_for(lambda: self._n_bytes >= end or self._copying.done())
            if self._n_bytes < end:
                self._copying.result()  # raises what ended the copy too early
            data = os.pread(self._file.fileno(), len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def __exit__(self, kind: type[BaseException] | None, *details: Any) -> None:
        if kind is None:
            self._copying.result()  # a file of which only the unread part fails is not whole either
        super().__exit__(kind, *details)

    def close(self) -> None:
        self._stopped = True
        self._thread.shutdown()
        self._file.close()
        super().close()

    def _copy(self) -> None:
        while not self._stopped and (data := self._stream.read(1 << 20)):
            _write_all(self._file, memoryview(data))
            self._add(len(data))

    def _add(self, n_bytes: int) -> None:
        with self._arrived:
            self._n_bytes += n_bytes
            self._arrived.notify_all()


def first_line(error: BaseException) -> str:
    """First line of a library's message, cut to a readable length."""
    return str(error).partition("\n")[0][:300]


def open_unnamed(settings: FileSettings) -> IO[bytes]:
    """An empty file without a name, gone when it is closed or the process ends, however it ends."""
    try:
        return tempfile.TemporaryFile(dir=settings.temp_dir or None, buffering=0)
    except OSError as error:  # it worked when the server started
        check_descriptors(error)
        raise LimitError(
            f"The server cannot create temporary files any more: {error.strerror}. Its operator can check "
            "PROTO_MODEL_FILES_TEMP_DIR."
        ) from error


class Spool(io.RawIOBase):
    """An output file that counts and digests what is written to it."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        super().__init__()
        self.file = file
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._discarded = False
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Append bytes; raises LimitError when there are too many, or the disk is full."""
        view = memoryview(data).cast("B")
        if self._discarded:
            return len(view)
        self.n_bytes += len(view)
        if self.n_bytes > self._max_bytes:
            raise LimitError(
                f"The output is larger than {self._max_bytes} bytes (PROTO_MODEL_FILES_MAX_OUTPUT_BYTES)."
            )
        self._md5.update(view)
        self._sha256.update(view)
        _write_all(self.file, view)
        return len(view)

    def discard(self) -> None:
        """Take no more bytes, and complain about none."""
        self._discarded = True

    @property
    def md5(self) -> bytes:
        """Digest of what was written, as stores use it for ETags."""
        return self._md5.digest()

    @property
    def sha256(self) -> str:
        """Digest of what was written, in hexadecimal."""
        return self._sha256.hexdigest()


def _write_all(file: IO[bytes], view: memoryview) -> None:
    """Write every byte to an unbuffered file; raises LimitError when the disk is full."""
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise LimitError(
            "The disk for temporary files is full. Free some space, or set PROTO_MODEL_FILES_TEMP_DIR."
        ) from error
