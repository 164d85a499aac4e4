from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.files.formats.arrow_messages import MessageStream
from proto_model.files.transfer import FileSettings, LimitError

LAYOUTS = {"arrow": pa.ipc.new_file, "arrows": pa.ipc.new_stream}
CODECS = [None, "zstd", "lz4"]


def written(table: pa.Table, layout: str = "arrows", codec: str | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    with LAYOUTS[layout](
        sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec, **options)
    ) as writer:
        writer.write_table(table)
    return sink.getvalue()


def people(n_rows: int) -> pa.Table:
    texts = pa.array(["clerk", "pilot", None] * n_rows).dictionary_encode()[:n_rows]
    return pa.table({"age": np.arange(n_rows), "size": np.zeros(n_rows), "job": texts})


def _n_bytes_behind(data: bytes, layout: str) -> int:
    """Bytes of the end mark, and in a file of the footer, its length and the magic after it."""
    return 8 + (int.from_bytes(data[-10:-6], "little") + 10 if layout == "arrow" else 0)


@pytest.mark.parametrize("n_bytes", [1, 7, 64, 5000])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_byte_passes_in_any_portions(layout: str, codec: str | None, n_bytes: int) -> None:
    data = written(people(300), layout, codec)
    first = 8 if layout == "arrow" else 0
    messages = MessageStream(io.BytesIO(data[first:]), 10_000)

    passed = b""
    while part := messages.read(n_bytes):
        passed += part
    assert data[first:].startswith(passed)
    assert len(data) - first - len(passed) == _n_bytes_behind(data, layout)
    if layout == "arrow":
        assert messages.rest() == data[8 - _n_bytes_behind(data, layout) :]
    else:
        messages.check_end()


def test_streams_of_old_are_read_as_well() -> None:
    data = written(people(9), use_legacy_format=True)
    messages = MessageStream(io.BytesIO(data), 10_000)

    assert pa.ipc.open_stream(pa.PythonFile(messages, mode="r")).read_all() == people(9)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_that_grows_when_it_is_decompressed_is_refused(scorer, layout: str, codec: str) -> None:
    zeros = np.zeros(500_000)
    data = written(pa.table({"age": zeros.astype(np.int64), "size": zeros}), layout, codec)
    assert len(data) < 100_000

    with pytest.raises(LimitError, match=r"A record batch has 8\d{6} bytes. The limit is 1000000 "):
        scorer(data, f"rows.{layout}", FileSettings(max_batch_bytes=1_000_000))

    _, scored = scorer(data, f"rows.{layout}", FileSettings(max_batch_bytes=9_000_000))
    assert scored.n_rows == 500_000


def test_a_dictionary_that_grows_when_it_is_decompressed_is_refused(scorer) -> None:
    job = pa.array(["x" * 2_000_000, "clerk"]).dictionary_encode()
    data = written(pa.table({"age": [1, 2], "job": job}), codec="zstd")

    with pytest.raises(LimitError, match="The limit is 1000000 "):
        scorer(data, "rows.arrows", FileSettings(max_batch_bytes=1_000_000))


@given(place=st.integers(0, 2000), value=st.integers(0, 255), is_cut=st.booleans())
def test_damage_is_an_error_of_the_file_or_passes(scorer, place: int, value: int, is_cut: bool) -> None:
    data = bytearray(written(people(20), codec="zstd"))
    data[place % len(data)] = value
    if is_cut:
        del data[place % len(data) :]

    try:
        scorer(bytes(data), "rows.arrows", FileSettings(max_batch_bytes=1 << 20))
    except (InputError, LimitError):
        pass
