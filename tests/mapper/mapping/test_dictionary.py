"""What a data dictionary says, on its way to people: documentation, OpenAPI, terminal."""

import pytest

from mapper import ModelSchema, TabularModel
from mapper.cli.tables import schema_table
from mapper.http.docs import docs_page
from mapper.http.openapi import openapi_document
from mapper.http.settings import MapperSettings
from mapper.mapping.dictionary import Entry
from tests.mapper.conftest import SCHEMA

DICTIONARY = {
    "mass": {"description": "<b>Mass</b> on the scales", "unit": "kg", "author": "A. Nurse"},
    "ringed": {"decode": {"false": "free", "true": "ringed"}, "protected": True},
    "island": {"description": "Where it was seen.", "decode": {str(n): f"number {n}" for n in range(20)}},
    "species": {"description": "What the <i>ranger</i> said", "decode": {"Gentoo": "Pygoscelis papua"}},
}


@pytest.fixture
def told():
    return TabularModel(ModelSchema.from_dict({**SCHEMA, "schema_version": "1.1", "dictionary": DICTIONARY}))


def test_openapi_says_what_columns_mean_and_accepts_the_same(told, model):
    document, plain = (openapi_document(one, None) for one in (told, model))
    properties = document["components"]["schemas"]["Record"]["properties"]

    assert properties["mass"]["description"].startswith(
        "<b>Mass</b> on the scales. Unit: kg. Training saw 2.5"
    )
    assert properties["mass"]["x-unit"] == "kg"
    assert (properties["ringed"]["x-decode"], properties["ringed"]["x-protected"]) == (
        {"false": "free", "true": "ringed"}, True
    )  # fmt: skip
    assert properties["island"]["description"].startswith("Where it was seen. 0: number 0, 1: number 1, ")
    assert "11: number 11, … Known categories: Biscoe" in properties["island"]["description"]
    assert "What the <i>ranger</i> said. Gentoo: Pygoscelis papua." in document["info"]["description"]
    for name, before in plain["components"]["schemas"]["Record"]["properties"].items():
        kept = {key: part for key, part in properties[name].items() if not key.startswith("x-")}
        assert kept == {**before, "description": kept["description"]}


def test_the_documentation_escapes_what_it_shows(told, model):
    page, plain = (docs_page(one, MapperSettings(), None, "http://mapper") for one in (told, model))

    assert "&lt;b&gt;Mass&lt;/b&gt; on the scales. Unit: kg." in page
    assert "What the &lt;i&gt;ranger&lt;/i&gt; said. Gentoo: Pygoscelis papua." in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert '<th scope="col">meaning</th></tr></thead><tbody><tr><td><code>mass' in page
    assert '<th scope="col">example</th></tr></thead><tbody><tr><td><code>mass' in plain


def test_the_terminal_shows_meanings_on_short_lines(told, model):
    table = schema_table(told.schema)

    assert table.startswith("penguins predicts species: Adelie, Gentoo (What the <i>ranger</i> said.")
    assert "<b>Mass</b> on the scales. Unit: kg." in table
    assert max(map(len, table.splitlines())) < 180
    assert "meaning" not in schema_table(model.schema)


@pytest.mark.parametrize(
    ("entry", "sentences"),
    [
        (Entry(), []),
        (Entry(description="What?", unit="kg"), ["What?", "Unit: kg."]),
        (Entry(decode=(("0", "no"), ("1", "yes"))), ["0: no, 1: yes."]),
    ],
)
def test_an_entry_in_sentences(entry, sentences):
    assert entry.sentences == sentences
