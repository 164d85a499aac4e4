"""Fuzzing in short: the saved corpus, then about two seconds of changes of it for each parser.

`make fuzz` is the long form. What it found is below, by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import engines, files
from tests.fuzz.targets import TARGETS, corpus_of, dump, load

SECONDS = 1.0
# pyarrow, of a CSV row that has neither the right width nor valid UTF-8: see the last test.
IGNORED = "ignore:Exception ignored in.*CsvReader:pytest.PytestUnraisableExceptionWarning"
ROOT = Path(__file__).parents[2]

#: Inputs that failed once, by the parser that they failed in.
FOUND = [
    ("urls", b"HTTPS://EXAMPLE.[::ffff:10.0.0.1]0.1]A?B"),
    ("urls", b"http://.https:00//b/k?a=b"),
    ("urls", b"https://b.s3.?X-Amz-Date=1&a=?"),  # the reading beside it took the last ? for an empty query
    ("json_lines", b"null\n"),  # pyarrow's reader ended the process
    ("json_lines", b'null{"{":[[{}]]}\n'),
    ("json_lines", b'{"x":1,"c":"\xff"}\n'),
    ("json_lines", b'\n\xef\xbb\xbf{"x":674}\n'),  # the reading beside it looked for the mark too late
    ("mapper_request", b'{"data": {"columns": ["x", "n", "b", "c"], "rows": []}}'),
    ("csv_blocks", b'x,y\nn"1","2""\n1,1"\n'),  # a block that ends with a line end within quotes
    (
        "csv_blocks",
        b"\xef\xbb\xbf\xef\xbb\xbfx" + 60 * b"y" + b",n\n1,2\n",
    ),  # a first row longer than a block
]

AGAIN = """
import json, traceback
from tests.fuzz.targets import TARGETS

def again(found):
    for name, data in found:
        try:
            TARGETS[name].call(data)
        except BaseException:
            print(json.dumps(traceback.format_exc()), flush=True)
        else:
            print(json.dumps(""), flush=True)
"""


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read_as_it_should_be(name: str) -> None:
    assert corpus_of(name)
    engines.replay(name)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("name", TARGETS)
def test_changes_of_the_corpus_are_read_as_they_should_be(name: str, tmp_path: Path) -> None:
    result = engines.with_hypothesis(name, SECONDS, tmp_path)

    assert result["executions"] > 20
    assert not result["findings"], [path.read_text() for path in tmp_path.rglob("*.txt")]


@pytest.fixture(scope="module")
def what_became_of_it() -> list[str]:
    """What each input of `FOUND` led to, if to anything bad; in another process, since some ended theirs."""
    told: list[str] = []
    while len(told) < len(FOUND):
        rest = FOUND[len(told) :]
        done = subprocess.run(
            [sys.executable, "-c", f"{AGAIN}\nagain({rest!r})"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:  # at the input that has no line, or at its own end
            place = min(len(results), len(rest) - 1)
            results[place:] = [f"The process ended with {done.returncode}. {done.stderr[-2000:]}"]
        told += results
    return told


@pytest.mark.parametrize("number", range(len(FOUND)), ids=[f"{name}-{data!r}" for name, data in FOUND])
def test_what_was_found_stays_found(number: int, what_became_of_it: list[str]) -> None:
    assert what_became_of_it[number] == ""


def test_a_byte_order_mark_at_the_beginning_of_a_cell_is_text_wherever_a_block_begins() -> None:
    [(first, _), (second, _)] = files.read("csv", b"c,x\n\xef\xbb\xbfa,1\n\xef\xbb\xbfa,1\n") or []

    assert str(first) == str(second)


@pytest.mark.filterwarnings(IGNORED)
def test_a_csv_row_of_the_wrong_width_that_is_not_utf_8_is_one_bad_row() -> None:
    rows = files.read("csv", b"x,y\n1,2\n\xff,2,3\n", files.NUMBERS)

    assert rows is not None
    assert [is_sound for _, is_sound in rows] == [True, False]


def test_a_saved_input_is_text_and_comes_back() -> None:
    every = bytes(range(256))

    assert load(dump(every)) == every
    assert dump(every).isascii()


def test_a_finding_is_kept_once_for_each_place(tmp_path: Path) -> None:
    findings = engines.Findings(tmp_path)

    for data in (b"1", b"2"):
        try:
            raise AssertionError(data)
        except AssertionError as error:
            findings.keep(data, error)

    assert [path.read_bytes() for path in tmp_path.glob("*.bin")] == [b"1"]


def test_hypothesis_finds_a_mistake_and_makes_it_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(data: bytes) -> None:
        assert b"\x00" not in data

    target = TARGETS["csv_body"]
    monkeypatch.setitem(TARGETS, "csv_body", type(target)(fails, target.words))

    result = engines.with_hypothesis("csv_body", 0.5, tmp_path)

    assert result["findings"] == 1
    found = (tmp_path / "csv_body" / "findings" / "1.bin").read_bytes()
    assert b"\x00" in found
    assert len(found) < 100
