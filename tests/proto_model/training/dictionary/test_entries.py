import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from proto_model.dictionary import CONTROLS
from proto_model.errors import DataError
from proto_model.table import RawTable, Roles, load_table, prepare
from proto_model.training.dictionary import Document, coverage_text, described, read_document

SCHEMA = json.loads((Path(__file__).parents[4] / "schemas" / "dictionary.schema.json").read_text())


@pytest.fixture(scope="module")
def data():
    n = 60
    table = pa.table(
        {
            "age": [20 + i % 20 for i in range(n)],
            "weight": [50.5 + i for i in range(n)],
            "job": [("clerk", "nurse")[i % 2] for i in range(n)],
            "owner": [i % 3 == 0 for i in range(n)],
            "sex": [1 + i % 2 for i in range(n)],
            "since": [f"20{i % 20:02d}-01-0{1 + i % 9}" for i in range(n)],
            "note": [f"see the form {i} of page {i * i}, late refund" for i in range(n)],
            "race": ["a", "b"] * (n // 2),
            "constant": [1] * n,
            "grade": [i // 20 for i in range(n)],
        }
    )
    return prepare(RawTable("people", "people", table), "grade", roles=Roles(protected=("race",)))


def told(data, text):
    return described(data, read_document(text.encode(), "columns.yaml"))


def test_columns_target_and_columns_that_are_left_out_are_told(data):
    text = """
        age: {description: "Age \\n at  admission", unit: years, protected: true, author: A. Nurse}
        weight: Weight on the scale
        race: {description: As in the form, protected: true, decode: {a: A, 99: unknown}}
        constant:
          description: >
            Always
            one
        grade: {decode: {0: low, 1: middle, 2: high}}
    """
    found = told(data, text)

    assert found.schema.to_dict()["dictionary"] == {
        "age": {
            "description": "Age at admission", "unit": "years", "author": "A. Nurse", "protected": True
        },
        "weight": {"description": "Weight on the scale"},
        "grade": {"decode": {"0": "low", "1": "middle", "2": "high"}},
    }  # fmt: skip
    left_out = {column.name: column.entry for column in found.dropped}
    assert left_out["race"].protected
    assert left_out["constant"].description == "Always one"
    assert found.schema.digest == data.schema.digest
    assert "describes 2 of" in coverage_text(found.schema)
    assert "Without a description: 'job', 'owner'" in coverage_text(found.schema)


@pytest.mark.parametrize(
    ("column", "given", "stored"),
    [
        ("job", {"clerk": "x", " nurse ": "y", "unheard of": "z"}, ["clerk", "nurse", "unheard of"]),
        ("owner", {"0": "x", "TRUE": "y"}, ["false", "true"]),
        ("sex", {"1": "x", "2.0": "y", "NA": "z"}, ["1", "2", "NA"]),
        ("weight", {"-1": "x", "1e2": "y", "0.5": "z"}, ["-1", "100", "0.5"]),
        ("since", {"2001-01-01T00:00:00Z": "x"}, ["2001-01-01"]),
        ("grade", {"0": "x", "1": "y"}, ["0", "1"]),
    ],
)
def test_stored_values_are_spelt_as_explanations_spell_them(data, column, given, stored):
    found = described(data, Document.of({column: {"decode": given}})).schema

    assert list(dict(found.entry(column).decode)) == stored


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "has no columns"),
        ("just a text", "has no columns"),
        ("{}", "has no columns"),
        ("agee: x", "columns.yaml, line 1, agee: there is no such column; did you mean 'age'?"),
        ("age: 5", "line 1, age: 5 given, a description or description, unit"),
        ("age: [a]", "line 1, age: a list given"),
        ("age:", "line 1, age: missing given"),
        ("age:\n  units: kg", "line 2, age.units: not known; did you mean 'unit'?"),
        ("age: {unit: 5}", "line 1, age.unit: 5 given, a text expected. Put it between quotes"),
        ("age: {description: [a]}", "age.description: a list given, a text expected"),
        ("age: {protected: yes}", "age.protected: 'yes' given, true or false expected"),
        ("age: {protected: 1}", "age.protected: 1 given, true or false expected"),
        (f"age: {{unit: {'m' * 41}}}", "age.unit: it has 41 characters, at most 40"),
        (f"age: {'m' * 1001}", "age.description: it has 1,001 characters"),
        ('age: {author: "\\e[2J"}', "age.author: it has control characters"),
        ('age: "a\\u202eb"', "age.description: it has control characters"),
        ('age: {unit: "\\u0085"}', "age.unit: it has control characters"),
        ("age: '=1+1'", "age.description: it begins with '=', as a formula does"),
        ("age: \"-1+cmd|' /C calc'!A0\"", "it begins with '-', as a formula does"),
        ("age: {unit: '@SUM(A1)'}", "it begins with '@', as a formula does"),
        ("owner: {unit: kg}", "owner.unit: the column is a boolean, which has no unit"),
        ("since: {unit: days}", "since.unit: the column is a date, which has no unit"),
        ("job: {decode: [clerk]}", "job.decode: a list given, stored values and their meanings expected"),
        ("job: {decode: {Clerk: x}}", "job.decode: none of these values is in the column, which has 'clerk'"),
        ("job: {decode: {clerk: 1}}", "job.decode.clerk: 1 given, a text expected"),
        ("job: {decode: {clerk: }}", "job.decode.clerk: no meaning given"),
        ("job: {decode: {clerk: {a: b}}}", "job.decode.clerk: an object given, a text expected"),
        ('job: {decode: {clerk: x, "a\\u001b": y}}', "no value of this column"),
        ("owner: {decode: {maybe: x}}", "owner.decode.maybe: no value of this column, which is a boolean"),
        ("owner: {decode: {0: x, false: y}}", "owner.decode.false: 'false' has a meaning already"),
        ("sex: {decode: {1.5: x}}", "sex.decode.1.5: no value of this column, which is a long"),
        ("sex: {decode: {1: x, 1.0: y}}", "sex.decode.1.0: '1' has a meaning already"),
        ("note: {decode: {late: x}}", "note.decode: the column is a text"),
        ("grade: {decode: {high: x}}", "grade.decode.high: no value of this column"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(data, text, message):
    if "note" in text:
        terms = replace(data.schema.features[0], name="note", type="text", terms=("late",))
        data = replace(data, schema=replace(data.schema, features=(*data.schema.features, terms)))
    with pytest.raises(DataError) as caught:
        told(data, text)

    assert message in str(caught.value)


def test_all_faults_are_told_at_once_but_not_thousands(data):
    with pytest.raises(DataError, match=r"line 1, a:.*\n.*line 2, b:"):
        told(data, "a: x\nb: y\n")
    with pytest.raises(DataError, match="… and 80 more") as caught:
        told(data, "\n".join(f"column {i}: {{{'x' * 900}: y, {'y' * 900}: z}}" for i in range(100)))
    assert len(str(caught.value)) < MAX_TAG_VAL_LENGTH  # of the failed run's description
    with pytest.raises(DataError, match=r"age\.xxx") as caught:
        told(data, "age: {" + ", ".join(f"{'x' * 900}{i}: y" for i in range(100)) + "}")
    assert len(str(caught.value)) < MAX_TAG_VAL_LENGTH


@given(
    st.dictionaries(
        st.sampled_from(["age", "weight", "job", "owner", "grade", "since"]),
        st.text() | st.fixed_dictionaries({}, optional={
            "description": st.text() | st.none() | st.integers(),
            "unit": st.text(max_size=50),
            "author": st.text(),
            "decode": st.dictionaries(st.text(max_size=5) | st.sampled_from(["clerk", "0", "1"]), st.text()),
            "protected": st.booleans() | st.text(max_size=3),
        }),
        max_size=3,
    )
)  # fmt: skip
def test_what_is_taken_is_short_clean_and_of_the_json_schema(data, content):
    refusal, found = "", data.schema
    try:
        found = described(data, Document.of(content)).schema
    except DataError as error:
        refusal = str(error).replace("\n  ", "")
    assert not CONTROLS.search(refusal)
    if refusal:
        return

    jsonschema.validate(content, SCHEMA | {"minProperties": 0})
    for entry in found.to_dict().get("dictionary", {}).values():
        texts = [entry.get("description", ""), entry.get("unit", ""), *entry.get("decode", {}).values()]
        assert not any(CONTROLS.search(text) or text != text.strip(" ") for text in texts)
    assert type(found).from_dict(found.to_dict()) == found


def test_the_example_and_that_of_the_documentation_are_of_the_json_schema():
    root = Path(__file__).parents[4]
    example = (root / "examples" / "breast_cancer" / "columns.yaml").read_text()
    section = (root / "docs" / "training.md").read_text().partition("## What the columns mean")[2]

    for text in (example, section.partition("```yaml\n")[2].partition("```")[0]):
        content = read_document(text.encode(), "columns.yaml").content
        jsonschema.validate(content, SCHEMA)
        assert len(content) >= 4


def test_the_example_describes_every_column_of_its_table():
    example = Path(__file__).parents[4] / "examples" / "breast_cancer" / "columns.yaml"

    found = described(prepare(load_table("breast_cancer")), read_document(example.read_bytes(), example.name))

    assert coverage_text(found.schema) == "The dictionary describes 31 of 31 columns."
