"""The parsers that are fuzzed, and what each starts from.

`corpus/<target>.txt` has an input a line: bytes as characters of Latin-1, written as a JSON string.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from tests.fuzz import connection, decisions, documents, files, rows, whole

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Target:
    """A parser: what to call with bytes, and words that its language has."""

    call: Callable[[bytes], None]
    words: list[bytes]


def _words(text: bytes, *more: bytes) -> list[bytes]:
    """Words between spaces, and others."""
    return [*text.split(), *more]


JSON_WORDS = (
    rb'"x" "n" "b" "c" "a" "NA" null true false NaN Infinity 1e400 -0.0 0.1 "1e39" 9007199254740993 '
    rb'18446744073709551616 "\ud800" [ ] { } : , '
    rb'"d" "m" "t" "2024-03-01" "2024-02-30" "2024-03-01T12:00:00Z" "0001-01-01T00:00+02:00" "late" "7" '
)
TABLE_WORDS = (
    b"x,n,b,c d,m,t 2024-03-01 2024-02-30 2024-03-01T12:00:00Z -02:00 late Refund "
    b"x,y , 1e39 NaN inf 0x10 1_0 true nan(1) 1.5e-3 9007199254740993 "
)
SIGNED = (
    b"X-Amz-Signature= X-Amz-Date=20261121T000000Z X-Amz-Expires=60 X-Amz-SignedHeaders=host; sig= "
    b"se=2026-11-22 Signature= Expires= "
)
LINES = (b"\n", b"\r\n", b"\r", b"\x00", b"\xef\xbb\xbf", b" 5 ", b"\xc2\xa0", b'"', b'""', b'","')
HEADERS = (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: h\r\n", b"Upgrade: h2c\r\n")

TARGETS = {
    "json_rows": Target(
        rows.json_rows,
        _words(
            JSON_WORDS
            + b'"dataframe_split" "dataframe_records" "inputs" "instances" "columns" "data" "params" "index"'
        ),
    ),
    "v2_tensors": Target(
        rows.v2_tensors,
        _words(
            JSON_WORDS
            + b'"inputs" "name" "shape" "datatype" "data" "FP64" "INT64" "BOOL" "BYTES" "UINT8" '
            + b'"outputs" "id"'
        ),
    ),
    "mapper_request": Target(
        rows.mapper_request,
        _words(
            JSON_WORDS
            + b'"data" "columns" "rows" "file" "session" "parameters" "input_url" "output_url" '
            + b'"https://h/k" "seed"'
        ),
    ),
    "mapper_answer": Target(
        rows.mapper_answer,
        _words(
            JSON_WORDS
            + b'"predictions" "prediction" "probability" "probability_no" "no" "probability_yes" "yes" '
            + b'"message" "error" 0.75 0.25 0.5'
        ),
    ),
    "csv_body": Target(rows.csv_body, _words(TABLE_WORDS, *LINES)),
    "csv_blocks": Target(files.csv_blocks, _words(TABLE_WORDS, *LINES)),
    "json_lines": Target(files.json_lines, _words(JSON_WORDS, *LINES, b'{"x":1}\n', b'{"x":')),
    "arrow_messages": Target(
        files.arrow_messages,
        [b"ARROW1\x00\x00", b"\xff\xff\xff\xff", b"\x00" * 8, b"\xff" * 8, b"\x01\x00\x00\x00"],
    ),
    "whole_file": Target(
        whole.whole_file,
        [
            b"PAR1",
            b"ARROW1\x00\x00",
            b"\xff\xff\xff\xff",
            b"\x00" * 4,
            b"\xff" * 4,
            b"\x15\x02",
            b"\n",
            b'"',
            b",,",
        ],
    ),
    "schema_json": Target(
        documents.schema_json,
        _words(
            JSON_WORDS
            + b'"schema_version" "1.0" "model_name" "target" "classes" "features" "type" "name" "nullable" '
            + b'"categories" "minimum" "maximum" "median" "most_frequent" "double" "long" '
            + b'"boolean" "string" "task"'
        ),
    ),
    "dictionary": Target(
        documents.dictionary,
        _words(
            b"x: n: b: c: m: d: t: description: unit: decode: author: protected: true null "
            b'{ } [ ] , & * ! | > --- ... "\\u001b" "\\ud83d" 0 1.5 a: ? # =1 @ yes %YAML'
        ),
    ),
    "date": Target(
        decisions.date,
        _words(b"0001-01-01 9999-12-31 2024-02-29 T t Z z +02:00 -23:59 +0530 :60 00:00 .999999999 , 24:00"),
    ),
    "decision_json": Target(
        decisions.decision_json,
        _words(
            b'"calibration" "method" "x" "y" "costs" "sets" "conformal" "class" "marginal" "n_rows" "scores" '
            b"0.1 1e308 5e-324 1e400 NaN null true [ ] { } : , -0.0 99999999999999999999"
        ),
    ),
    "gates": Target(
        decisions.gates,
        _words(
            b"recall [ ] [yes] >= <= = ; .8 1e-3 nan inf roc_auc log_loss selection_ratio tpr_gap [sex] "
            b"balanced_accuracy -1 1_0"
        ),
    ),
    "bundle": Target(documents.bundle, [b"\x00\x00\x00\xff", b"\x80\x00\x00\x7f", b"\x01\x00\x07\xf0"]),
    "urls": Target(
        documents.urls,
        _words(
            SIGNED
            + b"https:// http:// @ # ? & [::1] [::ffff:10.0.0.1] 127.0.0.1 :443 :80 0x7f.1 2130706433 "
            + b"localhost 64:ff9b:: 2002: \\ .. %2e %0d%0a 169.254.169.254"
        ),
    ),
    "http": Target(
        connection.http,
        [
            *HEADERS,
            *(
                b"GET / HTTP/1.1\r\n",
                b"POST /a HTTP/1.1\r\n",
                b"\r\n\r\n",
                b"\r\n",
                b"0\r\n\r\n",
                b"\n",
                b"\x00",
            ),
            *(
                b"5\r\nhello\r\n",
                b"Connection: Upgrade\r\n",
                b"Connection: close\r\n",
                b"Expect: 100-continue\r\n",
            ),
            *b"HTTP/1.0 HTTP/2.0 CONNECT chunked gzip, +5 0x5 hello".split(),
        ],
    ),
}


def corpus_of(name: str) -> list[bytes]:
    """What is saved of a target, and what is made for it here."""
    path = CORPUS / f"{name}.txt"
    saved = [load(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []
    made = {"arrow_messages": _arrow_seeds, "whole_file": whole.seeds}.get(name)
    return [*(made() if made else ()), *saved]


def load(line: str) -> bytes:
    return bytes(json.loads(line), "latin-1")


def dump(data: bytes) -> str:
    return json.dumps(data.decode("latin-1"))


def save(name: str, inputs: list[bytes]) -> None:
    """Write a target's corpus, the shortest first."""
    lines = [dump(data) for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    (CORPUS / f"{name}.txt").write_text("".join(line + "\n" for line in lines), "ascii")


def _arrow_seeds() -> Iterator[bytes]:
    columns: dict[str, Any] = {
        "x": [1.5, 2.0, None],
        "n": [1, None, 3],
        "b": [True, False, None],
        "c": ["a", "b c", None],
        "d": [date(2024, 3, 1), None, date.min],
        "m": [datetime(2024, 3, 1, 12), None, datetime(1, 1, 1)],
        "t": ["late", "Refund 7", None],
    }
    table = pa.table(columns)
    for codec in (None, "zstd", "lz4"):
        for new in (pa.ipc.new_stream, pa.ipc.new_file):
            sink = io.BytesIO()
            with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
                writer.write_table(table)
            yield sink.getvalue()
