from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from proto_model.files.stream import _Arriving
from proto_model.files.transfer import FileSettings, TransferError

CONTENT = bytes(range(256)) * 20_000
HALF = len(CONTENT) // 2


class _HeldBack(io.RawIOBase):
    """Gives half of the content, and the rest, or a failure, once it is let go."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self._failure = failure
        self._content = io.BytesIO(CONTENT)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._content.tell() < HALF:
            view = view[: HALF - self._content.tell()]
        else:
            assert self.let_go.wait(20)
            if self._failure:
                raise self._failure
        return self._content.readinto(view)


def test_what_has_arrived_is_read_while_the_rest_is_on_its_way() -> None:
    source = _HeldBack()
    with _Arriving(source, len(CONTENT), CONTENT[-1000:], FileSettings()) as file:
        assert file.seek(-500, io.SEEK_END) == len(CONTENT) - 500
        assert file.read(1000) == CONTENT[-500:]
        file.seek(1)
        assert file.read(HALF - 1) == CONTENT[1:HALF]
        source.let_go.set()
        assert file.read(1000) == CONTENT[HALF : HALF + 1000]


def test_the_end_of_a_file_of_unknown_length_is_known_once_it_is_there() -> None:
    source = _HeldBack()
    source.let_go.set()
    with _Arriving(source, None, b"", FileSettings()) as file:
        assert file.seek(-3, io.SEEK_END) == len(CONTENT) - 3
        assert file.read(10) == CONTENT[-3:]
        assert file.read(10) == b""


def test_a_file_of_which_only_the_unread_part_fails_is_not_whole() -> None:
    source = _HeldBack(TransferError("broke"))

    def read_a_half() -> None:
        with _Arriving(source, len(CONTENT), CONTENT[-1000:], FileSettings()) as file:
            assert file.read(HALF) == CONTENT[:HALF]
            source.let_go.set()

    with pytest.raises(TransferError, match="broke"):
        read_a_half()
