import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto_model.errors import DataError
from proto_model.training.dictionary import MAX_BYTES, Document, read_document

LAUGHS = b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


def read(text):
    return read_document(text.encode() if isinstance(text, str) else text, "columns.yaml")


def test_words_mean_what_they_mean_in_json():
    text = 'a: no\nb: true\nc: ~\nd: 1.5\ne: "5"\nf: 12:30\ng:\n  0: no\n  yes: on\n'

    assert read(text).content == {
        "a": "no",
        "b": True,
        "c": None,
        "d": 1.5,
        "e": "5",
        "f": "12:30",
        "g": {"0": "no", "yes": "on"},
    }


def test_json_is_read_as_json_with_tabs_and_pairs_of_surrogates():
    text = '\ufeff{\n\t"a": {"unit": "\\ud83d\\ude00 \\/"},\n\t"b": null}'

    assert read(text).content == {"a": {"unit": "😀 /"}, "b": None}
    assert read("{a: {unit: mm}}").content == {"a": {"unit": "mm"}}  # YAML's own braces


def test_a_place_has_its_line_where_there_are_lines():
    assert read("a: b\nc:\n  unit: 5\n").where(("c", "unit")) == "columns.yaml, line 3, c.unit"
    assert read('{"c": {"unit": 5}}').where(("c", "unit")) == "columns.yaml, c.unit"
    assert read("a: b").where(("\x1b[2J",)) == "columns.yaml, ?[2J"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "columns.yaml is empty"),
        ("# nothing\n", "columns.yaml is empty"),
        (b"a: \xff", "is not UTF-8 text: see byte 3"),
        (LAUGHS, "line 1 has an anchor or an alias"),
        ("a: 1\nb: *a\n", "line 2 has an anchor or an alias"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1 has a tag"),
        ("a: b\na: c\n", "line 2 gives the key 'a' again"),
        ("a:\n  b: 1\n  b: 2\n", "line 3 gives the key 'b' again"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("? [a]\n: b\n", "line 1 has a key that is not a text"),
        ("a: {b: {c: {d: {e: {f: 1}}}}}\n", "line 1 is nested too deeply"),
        ("a: 'b\n", "columns.yaml is not YAML: line 2: found unexpected end of stream"),
        ("a: \tb: c: d\n", "is not YAML: line 1"),
        ('{"a": 1, "a": 2}', "gives the key 'a' twice"),
        ('{"a": {"b": 1, "b": 2}}', "gives the key 'b' twice"),
        ('{"a": "b"', r"is not JSON \(.*\) or YAML: line"),
        ("[" * 5000, "line 1 is nested too deeply"),
        ('{"a":' * 5000, "nested too deeply|is not"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, told):
    with pytest.raises(DataError, match=told):
        read(text)


def test_a_text_may_be_too_large():
    entry = b"a: " + b"x" * (MAX_BYTES - 3)

    assert len(read(entry).content["a"]) == MAX_BYTES - 3
    with pytest.raises(DataError, match="more than 1,048,576 bytes"):
        read(entry + b"x")


@given(st.binary(max_size=200))
@example(LAUGHS)
@example(b"{" * 3000)
@example(b"%YAML 9.9\n---\na")
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_bytes_are_read_or_refused_with_a_sentence(text):
    refusal = "columns.yaml"
    try:
        read(text)
    except DataError as error:
        refusal = str(error)
    assert refusal.startswith("columns.yaml")


@given(
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.booleans() | st.none() | st.text()), max_size=3)
)
def test_json_comes_back_as_it_was_written(content):
    assert read(json.dumps(content, ensure_ascii=True)).content == content


def test_a_mapping_has_keys_like_a_file():
    given = {"sex": {"decode": {0: "male", True: "x", np.int64(2): "female", 1.5: "y"}}}

    assert Document.of(given).content == {
        "sex": {"decode": {"0": "male", "true": "x", "2": "female", "1.5": "y"}}
    }
    with pytest.raises(DataError, match="the key '1' twice"):
        Document.of({"a": {"decode": {1: "x", "1": "y"}}})
    with pytest.raises(DataError, match="a text or a number expected"):
        Document.of({("a",): "x"})
