"""What is wrong with a mapping is told when it is written: the line, the key, what is wrong, what to do."""

import hashlib
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapper import ModelSchema
from mapper.application.document import read_document
from mapper.application.functions import FUNCTIONS, SPECIAL
from mapper.application.model import check_mapping
from mapper.application.reader import read_mapping
from mapper.errors import MappingError
from tests.mapper.application.conftest import MAPPING
from tests.mapper.conftest import SCHEMA as PENGUINS

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "schemas" / "mapping.schema.json").read_text())
EXAMPLES = sorted((ROOT / "examples").glob("*/mapping.yaml"))


def faults_of(text, schema):
    with pytest.raises(MappingError) as caught:
        check_mapping(text.encode(), schema)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "line 1: a list given, keys expected: mapping"),
        ("request: {}", "line 1, mapping: write `mapping: 1`"),
        ("mapping: true", "mapping: write `mapping: 1`"),
        ("mapping: 2", "mapping: write `mapping: 1`"),
        ("mapping: 1\ntext: [a]", "line 2, text: a list given, a text expected"),
        ("mapping: 1\nrequests: {}", "line 2, requests: no such key; did you mean 'request'?"),
        ("mapping: 1\nrequest: [a]", "line 2, request: a list given, a table of names expected"),
        (
            "mapping: 1\nrequest:\n  w: {feature: mas}",
            "line 3, request.w: the model has no feature 'mas'. Did you mean 'mass'?",
        ),
        (
            "mapping: 1\nrequest:\n  w:\n    feature: mass\n    unti: g",
            "line 5, request.w.unti: no such key; did you mean 'unit'?",
        ),
        ("mapping: 1\nrequest: {w: {feature: mass, unit: g}}", "no unit 'g' under `units`; known: none"),
        ("mapping: 1\nunits: {g: {factor: 0}}", "units.g.factor: 0.0 given; it must be above 0"),
        ("mapping: 1\nunits: {g: {factor: -1}}", "it must be above 0"),
        ("mapping: 1\nunits: {g: {factor: kg}}", "units.g.factor: there is no 'kg'"),
        ("mapping: 1\nunits: {g: {factor: 1/0}}", "units.g.factor: division by zero"),
        ("mapping: 1\nunits: {g: {offset: 1}}", "units.g.factor: null given"),
        (
            "mapping: 1\nunits: {g: {factor: 2}}\nrequest: {p: {feature: island, unit: g}}",
            "'island' is a string, which has no unit",
        ),
        (
            "mapping: 1\nrequest: {p: {feature: island, lookup: {a: Bisco}}}",
            "request.p.lookup.a: the feature 'island': 'Bisco' was not seen",
        ),
        ("mapping: 1\nrequest: {p: {feature: mass, lookup: {a: x}}}", "'x' given, a number expected"),
        ("mapping: 1\nrequest: {p: {feature: island, lookup: {}}}", "a table expected"),
        (
            "mapping: 1\nrequest: {p: {feature: island, lookup: {a: Dream, ' a': Biscoe}}}",
            "differ in white space",
        ),
        ("mapping: 1\nrequest: {p: {feature: mass, otherwise: 1}}", "`otherwise` is for a lookup"),
        (
            "mapping: 1\nrequest: {p: {feature: mass, default: heavy}}",
            "request.p.default: 'heavy' given, a number expected",
        ),
        ("mapping: 1\nrequest: {a: mass, b: mass}", "request.b: the feature 'mass' is given twice, by a"),
        ("mapping: 1\nrequest: {a: mass}\nfeatures: {mass: {value: 3}}", "given twice, by features"),
        (
            "mapping: 1\nrequest: {mass: {type: number, example: 1}}",
            "another field's name and a feature that nothing gives",
        ),
        (
            "mapping: 1\nrequest: {y: {type: date}}",
            "request.y.type: 'date' given, one of number, integer, boolean, text",
        ),
        ("mapping: 1\nrequest: {y: {type: number}}", "request.y: give an `example`"),
        (
            "mapping: 1\nrequest: {y: {type: number, example: x}}",
            "request.y.example: 'x' given, a number expected",
        ),
        (
            "mapping: 1\nrequest: {y: {type: number, minimum: 3, maximum: 1, example: 2}}",
            "is above the maximum",
        ),
        ("mapping: 1\nrequest: {y: {type: number, minimum: 3, example: 2}}", "request.y.example: 2 given"),
        ("mapping: 1\nrequest: {y: {type: text, minimum: 3, example: a}}", "minimum: not for the type text"),
        ("mapping: 1\nrequest: {y: {type: text, optional: sure, example: a}}", "true or false expected"),
        ("mapping: 1\nrequest: {'': mass}", "a name of 1 to 100 printable characters"),
        ("mapping: 1\nfeatures: {tail: {value: 1}}", "features.tail: the model has no feature 'tail'"),
        ("mapping: 1\nfeatures: {mass: {value: 1, expression: '1'}}", "give either `value` or `expression`"),
        (
            "mapping: 1\nfeatures: {mass: {value: x}}",
            "features.mass.value: the feature 'mass': 'x' given, a number",
        ),
        ("mapping: 1\nfeatures: {mass: {value: ~}}", "a value is required"),
        (
            "mapping: 1\nfeatures: {mass: {expression: eggs + }}",
            "features.mass.expression: not an expression",
        ),
        ("mapping: 1\nfeatures: {mass: {expression: egs + 1}}", "there is no 'egs'; did you mean 'eggs'?"),
        (
            "mapping: 1\nfeatures: {mass: {expression: island}}",
            "gives a text, and the feature 'mass' is a double",
        ),
        ("mapping: 1\nfeatures: {mass: {expression: None}}", "it is always missing"),
        (
            "mapping: 1\nanswer: {classes: {Adele: A}}",
            "answer.classes.Adele: the model has no such class; did you mean 'Adelie'?",
        ),
        ("mapping: 1\nanswer: {classes: {Adelie: Gentoo}}", "two classes get the same name"),
        (
            "mapping: 1\nanswer: {fields: {a: predicted}}",
            "answer.fields.a.from: 'predicted' given, one of prediction",
        ),
        ("mapping: 1\nanswer: {fields: {}}", "at least one field"),
        ("mapping: 1\nanswer: {fields: {a: {from: prediction, digits: 1}}}", "are for numbers"),
        (
            "mapping: 1\nanswer: {fields: {a: {from: probability, digits: 1.5}}}",
            "a whole number from 0 to 10",
        ),
        (
            "mapping: 1\nanswer: {fields: {a: {expression: probability_adelie}}}",
            "did you mean 'probability_Adelie'?",
        ),
        ("mapping: 1\nanswer: {fields: {a: {from: probability, unit: [x]}}}", "no unit a list"),
        ("mapping: 1\nanswer: {fields: {explanation: prediction}}", "`explanation` is the name of one field"),
        ("mapping: 1\nfeatures: {eggs: {expression: '2.5'}}", "do not make a row that the model takes"),
        (
            "mapping: 1\nrequest: {eggs: mass}\nfeatures: {eggs: {value: 1}}",
            "request.eggs: 'eggs' is also a feature, which `features` gives; give the field another name",
        ),
        (
            "mapping: 1\nrequest: {p: {feature: island, lookup: {Dream: Biscoe}, otherwise: Dream}}",
            "'Dream' is also a word of the lookup that means 'Biscoe'; call that word something else",
        ),
        (
            "mapping: 1\nfeatures: {mass: {value: 3}, eggs: {value: 1}, ringed: {value: true},"
            " island: {value: Dream}}",
            "line 1: requests have no field left; `features` gives all of them",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text, words, schema):
    assert words in faults_of(text, schema)


def test_true_and_false_are_expressions_as_they_are(schema):
    model = check_mapping(b"mapping: 1\nfeatures: {ringed: {expression: True}}", schema)

    assert model.map_request({"data": {"mass": 4, "island": "Dream"}})["inputs"]["ringed"] == [True]


def test_all_mistakes_are_told_at_once(schema):
    text = (
        "mapping: 1\nunits: {g: {}}\nrequest:\n  a: {feature: x}\n  b: {unit: g}\nfeatures: {c: {value: 1}}"
    )

    said = faults_of(text, schema)

    assert said.startswith("The mapping has 4 faults:")
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [
        "line 2, units.g.factor",
        "line 4, request.a",
        "line 5, request.b",
        "line 6, features.c",
    ]


def test_a_mapping_that_says_nothing_changes_nothing(schema, model):
    mapped = check_mapping(b"mapping: 1\n", schema)
    record = mapped.schema.typical_record

    assert record == schema.typical_record
    assert mapped.map_request({"data": record}) == model.map_request({"data": record})


def test_the_json_schema_takes_what_the_mapper_takes(schema):
    texts = [MAPPING.encode(), b"mapping: 1", b"mapping: '1'\nrequest: {weight: mass}"]
    for text in [*texts, *(path.read_bytes() for path in EXAMPLES)]:
        jsonschema.validate(read_document(text).content, SCHEMA)
    assert EXAMPLES


VALUES = st.sampled_from(
    [
        "mass",
        "eggs",
        "ringed",
        "island",
        "g",
        "Dream",
        "1",
        "-2.5",
        "0.001",
        "true",
        "~",
        "laid - 1",
        "prediction",
        "[a]",
        "{a: 1}",
        "number",
        "text",
        "eggs + 1",
        "'x' if ringed else 'y'",
        "9 ** 9 ** 9",
        "probability * 100",
    ]
)
KEYS = st.sampled_from(
    [
        "feature",
        "unit",
        "lookup",
        "otherwise",
        "default",
        "text",
        "type",
        "example",
        "choices",
        "minimum",
        "value",
        "expression",
        "from",
        "digits",
        "factor",
        "offset",
        "optional",
    ]
)
ITEMS = st.dictionaries(KEYS, VALUES, max_size=4).map(
    lambda item: "{" + ", ".join(f"{key}: {value}" for key, value in item.items()) + "}"
)
TABLES = st.dictionaries(
    st.sampled_from(["g", "mass", "eggs", "island", "x"]), ITEMS | VALUES, max_size=3
).map(lambda table: "{" + ", ".join(f"{key}: {value}" for key, value in table.items()) + "}")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(units=TABLES, request=TABLES, features=TABLES, classes=TABLES, fields=TABLES)
def test_any_mapping_is_refused_or_maps_its_example(units, request, features, classes, fields, schema):
    own = f", fields: {fields}" if len(fields) > 2 else ""
    answer = f"{{classes: {classes}{own}}}"
    text = f"mapping: 1\nunits: {units}\nrequest: {request}\nfeatures: {features}\nanswer: {answer}\n"
    try:
        mapped = check_mapping(text.encode(), schema)
    except MappingError:
        return
    jsonschema.validate(read_document(text.encode()).content, SCHEMA)
    again = ModelSchema.from_dict(json.loads(json.dumps(mapped.schema.content)))
    assert again.features == mapped.schema.features
    assert mapped.map_request({"data": again.typical_record}).n_rows == 1


def test_the_mapping_of_the_documentation_fits_a_model_with_its_features():
    [text] = re.findall(r"```yaml\n(mapping: 1.*?)```", (ROOT / "docs" / "mapper.md").read_text(), re.DOTALL)
    number = {"nullable": False, "minimum": 0, "maximum": 10, "median": 5}
    kinds = {"mass": "double", "age": "long", "ringed": "boolean", "nest": "boolean"}
    island = {"name": "island", "type": "string", "nullable": True, "categories": ["Biscoe", "Dream"]}
    features = [{"name": name, "type": kind, **number} for name, kind in kinds.items()]
    features.append({**island, "most_frequent": "Dream"})
    schema = ModelSchema.from_dict({**PENGUINS, "features": features})

    mapped = check_mapping(text.encode(), schema)

    jsonschema.validate(read_document(text.encode()).content, SCHEMA)
    record = {"weight": 4200, "site": "TO", "tag": True, "born": 2020}
    expected = {"mass": [4.2], "age": [6], "ringed": [True], "nest": [False], "island": ["Biscoe"]}
    assert mapped.map_request({"data": record}) == {"inputs": expected}


def test_the_functions_of_the_documentation_are_those_there_are():
    text = (ROOT / "docs" / "mapper.md").read_text()

    assert all(re.search(rf"`[^`]*\b{name}\b[^`]*`", text) for name in [*FUNCTIONS, *SPECIAL])


def test_the_digest_is_that_of_the_text(schema):
    assert read_mapping(b"mapping: 1\n", schema).digest == hashlib.sha256(b"mapping: 1\n").hexdigest()
