import dataclasses
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.dictionary import Entry
from proto_model.table import DroppedColumn
from proto_model.training.evaluation.dictionary_section import dictionary_section
from proto_model.training.evaluation.groupings import groupings
from proto_model.training.evaluation.markdown import literal

EVIL = "<img src=x onerror=alert(1)> | [click](javascript:x) ![](http://spy) **b** `c` www.spy.org a@b.c &lt;"


@pytest.fixture
def told(mixed_data):
    entries = {
        "age": Entry(description="Age at admission", unit="years", author="A. Nurse", protected=True),
        "job": Entry(description=EVIL, unit=EVIL, author=EVIL, decode=((EVIL, EVIL), ("nurse", "ward"))),
        "class": Entry(decode=(("no", "stays"), ("yes", "leaves"))),
    }
    dropped = DroppedColumn("race", "protected", Entry(description="As in the form", protected=True))
    schema = mixed_data.schema.with_dictionary(entries)
    return dataclasses.replace(mixed_data, schema=schema, dropped=(dropped,))


def test_the_section_says_what_is_known_and_what_is_not(told):
    title, coverage, table, protected = dictionary_section(told)

    assert title == "## Data dictionary"
    assert coverage.startswith(
        "The dictionary describes 2 of 6 columns. Without a description: 'income', 'owner'"
    )
    assert "| class (the target) |  |  | no: stays, yes: leaves |  |" in table
    assert "| age (protected) | Age at admission | years |  | A. Nurse |" in table
    assert "| race (not used, protected) | As in the form |" in table
    assert "age, race" in protected
    assert "**The model sees age**" in protected


def test_no_text_of_a_dictionary_is_more_than_text(told):
    section = "\n\n".join(dictionary_section(told))

    assert "<" not in section
    row = next(line for line in section.splitlines() if "img" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert not re.search(r"(?<!\\)[\[`]|(?<!\\)://|\bwww\.|(?<!\\)@|&lt;img src=x.*[^\\]>", row)


def test_without_a_dictionary_there_is_no_section(mixed_data):
    assert dictionary_section(mixed_data) == []


def test_results_are_shown_by_protected_columns_first(told):
    names = told.schema.feature_names
    importances = pd.DataFrame({"feature": ["income", *names], "importance": 1.0, "std": 0.0})

    assert next(iter(groupings(told, importances))) == "age"


@given(st.text())
def test_any_text_is_literal(text):
    shown = literal(text)

    assert not re.search(r"[<>\n\r]|(?<!\\)(\\\\)*(?<!\\)[`*_|\[\]]", shown)
