"""Small files that unpack to much: what each takes in memory is held against what the limits allow."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 16 << 20
#: As docs/files.md says: of PROTO_MODEL_FILES_MAX_BATCH_BYTES, and of PROTO_MODEL_FILES_MAX_ROW_BYTES.
ALLOWED = {"typed": 8 * LIMIT, "text": 48 * (8 << 20)}
N_ROWS, N_LONG = 100, 1_000_000
AGES = [30] * N_ROWS
DISTINCT = [f"{row:05}" + "x" * N_LONG for row in range(N_ROWS)]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", **options)
    return sink.getvalue()


def arrow(columns: dict[str, Any], codec: str | None = "zstd") -> bytes:
    sink, table = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def coded(text: str) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * N_ROWS, pa.int8()), pa.array([text]))


def views(text: str) -> pa.Array:
    """Rows that all refer to one text."""
    view = struct.pack("<i4sii", len(text), text[:4].encode(), 0, 0)
    buffers = [None, pa.py_buffer(view * N_ROWS), pa.py_buffer(text.encode())]
    return pa.Array.from_buffers(pa.string_view(), N_ROWS, buffers)


def lying_footer() -> bytes:
    """A footer that says that the texts take a few bytes."""
    data = parquet({"age": AGES, "note": DISTINCT}, use_dictionary=False)
    n_bytes = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(1).total_uncompressed_size
    said, lie = (_varint(2 * n) for n in (n_bytes, n_bytes & 127 | 1 << 21))
    assert len(said) == len(lie)
    at = data.rindex(said)
    return data[:at] + lie + data[at + len(said) :]


def _varint(value: int) -> bytes:
    more = value >> 7
    return bytes([value & 127 | 128]) + _varint(more) if more else bytes([value])


def lying_buffer() -> bytes:
    """A compressed buffer that announces a terabyte."""
    data = bytearray(arrow({"age": AGES, "size": np.arange(N_ROWS, dtype=np.float64)}))
    at = data.index(struct.pack("<q", 8 * N_ROWS))
    data[at : at + 8] = struct.pack("<q", 1 << 40)
    return bytes(data)


def more_and_more_dictionaries() -> bytes:
    """A dictionary to which every batch adds."""
    kind = pa.dictionary(pa.int32(), pa.string())
    sink = io.BytesIO()
    schema = pa.schema([("age", pa.int64()), ("note", kind)])
    options = pa.ipc.IpcWriteOptions(compression="zstd", emit_dictionary_deltas=True)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for n_texts in range(1, 40):
            notes = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(DISTINCT[:n_texts]))
            writer.write_batch(pa.record_batch([pa.array([30]), notes], schema=schema))
    return sink.getvalue()


def deep_schema(n_levels: int = 30_000) -> bytes:
    """A column nested so deeply that Parquet's reader runs out of stack, which ends the process."""
    element = b"\x35\x00\x18\x01a\x15\x02\x00"  # required, named "a", one child
    last = b"\x15\x04\x25\x00\x18\x01z\x00"
    footer = b"\x15\x02\x19\xfc" + _varint(n_levels + 1) + element * n_levels + last + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


NOTE = {"passthrough": ["note"]}
MARK = {"on_bad_row": "mark"}
TOO_LARGE = "LimitError"
JSON_ROW = b'{"age":30}\n'

CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "warm-up.csv": (lambda: b"age,size\n30,1\n", {}, "1 rows"),
    "page of long texts.parquet": (
        lambda: parquet({"age": AGES, "note": DISTINCT}, use_dictionary=False),
        NOTE,
        TOO_LARGE,
    ),
    "page of a long feature.parquet": (
        lambda: parquet({"age": AGES, "job": DISTINCT}, use_dictionary=False),
        {},
        TOO_LARGE,
    ),
    "dictionary of long texts.parquet": (
        lambda: parquet({"age": AGES, "note": DISTINCT}, dictionary_pagesize_limit=1 << 30),
        NOTE,
        TOO_LARGE,
    ),
    "one long text.parquet": (lambda: parquet({"age": AGES, "note": DISTINCT[:1] * N_ROWS}), NOTE, TOO_LARGE),
    "one long binary.parquet": (
        lambda: parquet({"age": AGES, "note": [b"x" * N_LONG] * N_ROWS}),
        NOTE,
        TOO_LARGE,
    ),
    "one long text in lists.parquet": (
        lambda: parquet({"age": AGES, "note": [DISTINCT[:1]] * N_ROWS}),
        NOTE,
        TOO_LARGE,
    ),
    "long prefixes.parquet": (
        lambda: parquet(
            {"age": AGES, "note": ["x" * N_LONG + text[:5] for text in DISTINCT]},
            use_dictionary=False,
            column_encoding={"note": "DELTA_BYTE_ARRAY"},
        ),
        NOTE | {"output_format": "csv"},
        "100 rows",
    ),
    "a list of nulls.parquet": (
        lambda: parquet(
            {
                "age": [30],
                "note": pa.ListArray.from_arrays(
                    pa.array([0, 20_000_000], pa.int32()), pa.nulls(20_000_000, pa.int32())
                ),
            }
        ),
        NOTE,
        TOO_LARGE,
    ),
    "a page for each long text.parquet": (
        lambda: parquet(
            {"age": AGES, "job": DISTINCT, "note": DISTINCT},
            use_dictionary=False,
            data_page_size=1,
            write_batch_size=1,
        ),
        NOTE | {"output_format": "csv"},
        "100 rows",
    ),
    "a footer that lies.parquet": (lying_footer, NOTE, TOO_LARGE),
    "a footer of many levels.parquet": (deep_schema, {}, "nested more than 64 levels"),
    "long texts.arrows": (lambda: arrow({"age": AGES, "note": DISTINCT}), NOTE, TOO_LARGE),
    "a buffer that lies.arrows": (lying_buffer, {}, TOO_LARGE),
    "one long text.arrows": (lambda: arrow({"age": AGES, "note": coded("x" * N_LONG)}), NOTE, TOO_LARGE),
    "one long view.arrows": (
        lambda: arrow({"age": AGES, "note": views("x" * N_LONG)}, codec=None),
        NOTE,
        TOO_LARGE,
    ),
    "lists that overlap.arrows": (
        lambda: arrow(
            {
                "age": AGES,
                "note": pa.ListViewArray.from_arrays(
                    pa.array([0] * N_ROWS, pa.int32()),
                    pa.array([1_000_000] * N_ROWS, pa.int32()),
                    pa.array(np.zeros(1_000_000, np.int8)),
                ),
            }
        ),
        NOTE,
        TOO_LARGE,
    ),
    "dictionaries that grow.arrows": (more_and_more_dictionaries, NOTE, TOO_LARGE),
    "batches of nothing.arrows": (
        lambda: arrow({"age": AGES * 20_000, "note": pa.nulls(2_000_000)}),
        {},
        "2000000 rows",
    ),
    "short lines.jsonl": (lambda: JSON_ROW * 400_000, {"output_format": "parquet"}, "400000 rows"),
    "blank lines.jsonl": (lambda: JSON_ROW + b"\n" * (4 << 20) + JSON_ROW, {}, "2 rows"),
    "one long line.jsonl": (lambda: b'{"age":30,"note":[' + b"[]," * (8 << 20) + b"1]}\n", NOTE, TOO_LARGE),
    "a line of lists.jsonl": (lambda: b'{"age":30,"note":[' + b"[]," * (2 << 20) + b"1]}\n", NOTE, "1 rows"),
    "a deep line.jsonl": (
        lambda: b'{"age":30,"note":' + b"[" * (2 << 20) + b"]" * (2 << 20) + b"}\n",
        NOTE | MARK,
        "1 rows, 1 rejected",
    ),
    "one long field.csv": (lambda: b"age,job\n30," + b"x" * (20 << 20) + b"\n", {}, TOO_LARGE),
    "short lines.csv": (
        lambda: b"age,size\n" + b"1,\n" * 2_000_000,
        {"output_format": "parquet"},
        "2000000 rows",
    ),
    "bad lines.csv": (lambda: b"age,size\n" + b"x,x\n" * 200_000, MARK, "200000 rows, 200000 rejected"),
    "a field that stays open.csv": (
        lambda: b'age,job\n30,"' + b"\n" * (4 << 20),
        {},
        "ends before the quote",
    ),
    "zeros.csv.gz": (lambda: gzip.compress(b"age\n" + b"0" * (20 << 20), 9), {}, TOO_LARGE),
    "zeros.csv.zst": (lambda: zstd(b"age\n" + b"0" * (200 << 20)), {}, TOO_LARGE),
}


#: One for each way to fill the memory; `make bombs` has all of them.
QUICK = {
    "warm-up.csv",
    "page of long texts.parquet",
    "one long text.parquet",
    "a footer that lies.parquet",
    "a footer of many levels.parquet",
    "long texts.arrows",
    "a buffer that lies.arrows",
    "one long view.arrows",
    "one long line.jsonl",
    "one long field.csv",
    "zeros.csv.gz",
    "zeros.csv.zst",
}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What became of each file that is tested, and the most memory it took."""
    asked = {item.callspec.params["name"] for item in request.session.items if _is_bomb(item)}
    cases = {name: case for name, case in CASES.items() if name in asked | {"warm-up.csv"}}
    folder = tmp_path_factory.mktemp("bombs")
    for name, (content, _, _) in cases.items():
        (folder / name).write_bytes(content())
    (folder / "cases.json").write_text(json.dumps({name: params for name, (_, params, _) in cases.items()}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.proto_model.files.peak", str(folder), str(LIMIT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(cases), f"ended by {list(cases)[len(lines)]}: {done.stderr[-2000:]}"
    return {line["name"]: line for line in lines}


def _is_bomb(item: pytest.Item) -> bool:
    return (
        isinstance(item, pytest.Function) and item.function is test_a_bomb_takes_no_more_than_the_limits_allow
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.bombs]) for name in CASES]
)
def test_a_bomb_takes_no_more_than_the_limits_allow(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    outcome = outcomes[name]

    assert CASES[name][2] in outcome["outcome"]
    allowed = ALLOWED["typed" if name.endswith(("parquet", "arrows")) else "text"]
    assert outcome["taken"] <= allowed, f"{outcome['taken'] >> 20} MiB: {outcome['outcome']}"
