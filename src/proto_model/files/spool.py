"""Temporary files without a name: what is written before it is sent, and what is read while it arrives."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
import threading
from typing import IO, TYPE_CHECKING

from proto_model.files.transfer import Download, FileSettings, LimitError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_COPY_BYTES = 1 << 20
_TAIL_BYTES = 1 << 20


def open_unnamed(settings: FileSettings) -> IO[bytes]:
    """An empty file without a name, gone when it is closed or the process ends, however it ends."""
    return tempfile.TemporaryFile(dir=settings.temp_dir or None, buffering=0)


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
        write_all(self.file, view)
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


class ArrivingFile(io.RawIOBase):
    """A download that can be read anywhere: its end at once where the store allows, the rest once it came.

    A thread copies it to a temporary file, front to back; `head` are first bytes that were read already.
    """

    def __init__(self, download: Download, settings: FileSettings, head: bytes = b"") -> None:
        super().__init__()
        self._download = download
        self._file = open_unnamed(settings)
        self._arrived = threading.Condition()
        self._watermark, self._position = 0, 0
        self._finished = False
        self.failure: BaseException | None = None
        try:
            self._put(head, 0)
            self._watermark = len(head)
            tail = download.tail(_TAIL_BYTES)
            self._size = download.total_bytes
            self._tail_start = self._size - len(tail) if tail and self._size is not None else None
            if tail and self._tail_start is not None:
                self._put(tail, self._tail_start)
        except BaseException:
            self._file.close()
            super().close()
            raise
        self._thread = threading.Thread(target=self._copy, name="download", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the end of a file of unknown length is known when all of it is there."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self._length() if base is None else base)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Next bytes, all that are left by default, waiting for those that have not arrived."""
        end = self._position + size if size >= 0 else self._length()
        with self._arrived:
            self._arrived.wait_for(lambda: self._has(end))
            if self.failure is not None:
                raise self.failure
        data = os.pread(self._file.fileno(), end - self._position, self._position)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Stop the download and drop the file."""
        if not self.closed:
            self._download.abort()
            self._thread.join()
            self._file.close()
        super().close()

    def _has(self, end: int) -> bool:
        if self._finished or self._watermark >= end:
            return True
        return self._tail_start is not None and self._position >= self._tail_start

    def _length(self) -> int:
        with self._arrived:
            self._arrived.wait_for(lambda: self._size is not None or self._finished)
            if self.failure is not None:
                raise self.failure
        assert self._size is not None
        return self._size

    def _copy(self) -> None:
        failure: BaseException | None = None
        try:
            buffer = memoryview(bytearray(_COPY_BYTES))
            while n_bytes := _fill(self._download, buffer):
                self._put(buffer[:n_bytes], self._watermark)
                with self._arrived:
                    self._watermark += n_bytes
                    self._arrived.notify_all()
        except Exception as error:  # whatever it is, the reader has to hear of it
            failure = error
        with self._arrived:
            self.failure, self._finished = failure, True
            self._size = self._watermark if self._size is None else self._size
            self._arrived.notify_all()

    def _put(self, data: ReadableBuffer, start: int) -> None:
        view = memoryview(data)
        try:
            while view:
                n_bytes = os.pwrite(self._file.fileno(), view, start)
                view, start = view[n_bytes:], start + n_bytes
        except OSError as error:
            raise _disk_error(error) from error


def _fill(source: io.RawIOBase, buffer: memoryview) -> int:
    """Read until a buffer is full or the source ends: the system takes few large writes in half the time."""
    n_bytes = 0
    while n_bytes < len(buffer) and (n_read := source.readinto(buffer[n_bytes:])):
        n_bytes += n_read
    return n_bytes


def write_all(file: IO[bytes], view: memoryview) -> None:
    """Write every byte to an unbuffered file; raises LimitError when the disk is full."""
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise _disk_error(error) from error


def _disk_error(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return LimitError(
            "The disk for temporary files is full. Free some space, or set PROTO_MODEL_FILES_TEMP_DIR."
        )
    return error
