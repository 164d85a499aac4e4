from __future__ import annotations

import pytest

from proto_model.errors import InputError
from proto_model.files import FORMAT_NAMES, FORMATS
from proto_model.files.formats import find_format, format_of_name, parse_format


def test_every_format_has_a_name_that_is_read_back() -> None:
    for name in FORMAT_NAMES:
        assert str(parse_format(name, "output_format")) == str(format_of_name(f"x.{name}")) == name
        assert "/" in parse_format(name, "output_format").media_type
    assert len(set(FORMAT_NAMES)) == 11


def test_formats_share_neither_suffixes_nor_media_types() -> None:
    for values in ("suffixes", "media_types"):
        given = [value for known in FORMATS.values() for value in getattr(known, values)]
        assert len(set(given)) == len(given)


@pytest.mark.parametrize("name", ["xlsx", "CSV", "csv.xz", "parquet.gz", "."])
def test_an_unknown_format_is_an_error_that_lists_the_known(name: str) -> None:
    with pytest.raises(InputError, match=r"Unknown output_format '.*': expected one of csv, csv\.gz"):
        parse_format(name, "output_format")


@pytest.mark.parametrize(
    ("head", "path", "media_type", "layout"),
    [
        (b"PAR1\x15\0", "x.csv", "text/csv", "parquet"),
        (b"PAR1,PARENT\n1,2\n", "x.parquet", "", "csv"),
        (b"ORCID,age\n", "x", "", "csv"),
        (b"ARROW1\0\0", "x", "", "arrow"),
        (b"\xff\xff\xff\xff\x10\0\0\0", "x", "", "arrows"),
        (b' \n{"a": 1}\n', "x.csv", "", "jsonl"),
        (b'\xef\xbb\xbf{"a": 1}\n', "x", "", "jsonl"),
        (b"a,b\n1,2\n", "x.parquet", "", "csv"),
        (b"a\n1\n", "x", "", "csv"),
        (b"", "march.jsonl", "text/csv", "jsonl"),
        (b"", "march.ndjson.gz", "", "jsonl"),
        (b"", "x", "application/x-ndjson; charset=utf-8", "jsonl"),
        (b"", "x", "text/csv", "csv"),
    ],
)
def test_content_counts_before_name_and_type(head: bytes, path: str, media_type: str, layout: str) -> None:
    assert find_format(head, path, media_type).name == layout


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04", "zip"),
        (b"\xff\xfea\0,\0", "UTF-16"),
        (b"<?xml version", "XML"),
        (b'[{"a": 1}]', "JSON array"),
        (b"a\0\0b", "neither text"),
        (b"", "empty"),
    ],
)
def test_what_cannot_be_read_is_named(head: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what):
        find_format(head, "x", "")


def test_a_format_that_is_given_must_not_contradict_the_content() -> None:
    assert find_format(b"a\n1\n", "x", "", FORMATS["csv"]) is FORMATS["csv"]
    assert find_format(b"", "x", "", FORMATS["jsonl"]) is FORMATS["jsonl"]
    with pytest.raises(InputError, match="input_format says csv, but the file is parquet"):
        find_format(b"PAR1\0", "x", "", FORMATS["csv"])
    with pytest.raises(InputError, match="input_format says parquet, but the file is csv"):
        find_format(b"a,b\n", "x", "", FORMATS["parquet"])
