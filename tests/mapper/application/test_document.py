"""The text of a mapping: what is read of YAML, what is refused, and that nothing makes it fail otherwise."""

import json

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.application.document import read_document
from mapper.errors import MappingError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("0.001", 0.001),
        ("007", "007"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-03-01", "2026-03-01"),
        (".inf", ".inf"),
        ("e5", "e5"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("'ab' + 1".join(["'", "'"]).replace("'ab'", "''ab''"), "'ab' + 1"),
    ],
)
def test_a_plain_word_means_what_it_means_in_json(text, expected):
    found = read_document(f"key: {text}\n".encode()).content["key"]

    assert found == expected
    assert type(found) is type(expected)


def test_keys_are_texts_and_lines_are_known():
    document = read_document(b"request:\n  no: a\n  1:\n    - x\n    - {unit: g}\n")

    assert document.content == {"request": {"no": "a", "1": ["x", {"unit": "g"}]}}
    assert document.where(("request", "1", 1, "unit")) == "line 5, request.1.1.unit"
    assert document.where(("request", "gone")) == "line 1, request.gone"
    assert document.where(("a\nERROR forged", "x" * 500)) == f"line 1, a?ERROR forged.{'x' * 100}"


def test_json_is_a_form_of_it():
    content = {
        "mapping": 1,
        "units": {"g": {"factor": 0.001}},
        "text": None,
        "list": [True, "x\u00e9\n", 1.5],
    }

    for indent in (None, 2):
        assert read_document(json.dumps(content, indent=indent).encode()).content == content


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"a: 1\na: 2\n", "line 2 gives the key 'a' again"),
        (b'x:\n  - {a: 1, "a": 2}\n', "line 2 gives the key 'a' again"),
        (b"a: &x [1]\nb: *x\n", "line 1 has an anchor or alias"),
        (b"a: 1\nb: *x\n", "line 2 has an anchor or alias"),
        (b"&x a: 1\n", "anchor or alias"),
        (b"a: !!python/object/apply:os.system ['true']\n", "line 1 has a tag"),
        (b"a: !own 1\n", "line 1 has a tag"),
        (b"a: 1\n---\nb: 2\n", "more than one document"),
        (b"? [a]\n: 1\n", "a key that is not a text"),
        (b"a: [1\nb: 2\n", "not YAML: line"),
        (b"a: b: c\n", "not YAML: line 1"),
        (b"a: \x01\n", "not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: 1\n" * 60000, "the limit is 262144"),
        (b"[" * 100000, "nested too deeply"),
        (b"- " * 1000 + b"a", "nested too deeply"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_line(text, words):
    with pytest.raises(MappingError, match=words):
        read_document(text)


def test_a_bomb_of_aliases_is_refused_before_it_unfolds():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]

    with pytest.raises(MappingError, match="anchor or alias"):
        read_document("\n".join(lines).encode())


def test_it_reads_the_same_without_the_parser_in_c(monkeypatch):
    text = b"mapping: 1\nunits: {g: {factor: 0.001}}\nrequest:\n  'a b': {lookup: {x: yes, y: ~}}\n"
    quick = read_document(text)
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)

    assert read_document(text) == quick


PIECES = st.sampled_from(
    [
        "a",
        ": ",
        "\n",
        "  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&x",
        "*x",
        "!t",
        "'",
        '"',
        "|",
        ">",
        "%",
        "#",
        "?",
        "\t",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.lists(PIECES).map(lambda p: "".join(p).encode()),
    )
)
def test_any_text_is_read_or_refused(text):
    try:
        document = read_document(text)
    except MappingError:
        return
    assert orjson.loads(orjson.dumps(document.content)) == document.content


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=20),
        lambda p: st.lists(p, max_size=3) | st.dictionaries(st.text(max_size=10), p, max_size=3),
        max_leaves=8,
    )
)
def test_what_yaml_writes_is_read_back(content):
    text = yaml.safe_dump({"key": content}, allow_unicode=True, default_style='"', width=10_000)
    text = text.replace("!!bool ", "").replace("!!int ", "").replace("!!null ", "")

    found = read_document(text.encode()).content["key"]

    assert found == _quoted(content)


def _quoted(content):
    """As written with every scalar in quotes."""
    if isinstance(content, dict):
        return {key: _quoted(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_quoted(value) for value in content]
    if isinstance(content, bool):
        return str(content).lower()
    return content if isinstance(content, str) else "null" if content is None else str(content)
