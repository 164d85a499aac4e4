"""Each line of the two tables, of request parameters and of answer fields, is found wherever it has to be."""

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from mapper import InvalidRequestError, ModelAnswer, TabularModel
from mapper.cli.main import build_parser
from mapper.http.docs import docs_page
from mapper.http.openapi import openapi_document
from mapper.http.settings import MapperSettings
from mapper.mapping.answer import ANSWER_FIELDS, ROW_FIELDS, TangoResponse
from mapper.mapping.parameters import PARAMETERS
from mapper.mapping.schema import TASKS

ROOT = Path(__file__).resolve().parents[3]
FILE = {"input_url": "https://s3/a", "output_url": "https://s3/b"}
NAMES = [parameter.name for parameter in PARAMETERS]


def static_schema(name):
    return json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())


def example_of(parameter, schema):
    """A value that its JSON Schema allows."""
    document = parameter.document(schema)
    if "enum" in document:
        return document["enum"][-1]
    if document["type"] in ("integer", "number"):
        return document["maximum"]
    return [document["items"].get("enum", ["a"])[0]]


@pytest.fixture
def page(model):
    return docs_page(model, MapperSettings(), None, "http://mapper")


@pytest.mark.parametrize("parameter", PARAMETERS, ids=NAMES)
def test_a_parameter_is_checked_sent_and_documented(model, record, page, parameter, capsys):
    explain, is_file = parameter.use == "explain", parameter.use == "file"
    value, document = example_of(parameter, model.schema), parameter.document(model.schema)
    mapped = model.get_explainer() if explain else model
    data = {"file": FILE} if is_file else {"data": record}

    request = mapped.map_request({**data, "parameters": {parameter.name: value}})
    assert request["params"][parameter.name] == value
    with pytest.raises(InvalidRequestError) as caught:
        mapped.map_request({**data, "parameters": {parameter.name: {}}})
    assert [fault.field for fault in caught.value.errors] == [f"parameters.{parameter.name}"]

    components = openapi_document(model, None)["components"]["schemas"]
    for name in ("predictRows", "explainRows", "predictFile", "explainFile"):
        taken = components[name]["properties"]["parameters"]["properties"]
        takes = name.startswith("explain") if explain else name.endswith("File") or not is_file
        assert (parameter.name in taken) == takes
        assert taken.get(parameter.name, document) == document
    assert jsonschema.Draft202012Validator(document).is_valid(value)
    assert f"<code>{parameter.name}</code>" in page
    with pytest.raises(SystemExit):
        build_parser().parse_args(["explain", "--help"])
    flag = parameter.name if not is_file else f"--{parameter.name.replace('_', '-')}"
    assert flag in capsys.readouterr().out
    assert (f"{parameter.name}: {parameter.text}" in TabularModel.get_explainer.__doc__) == explain


OF_SOME = [parameter for parameter in PARAMETERS if parameter.use != "any"]


@pytest.mark.parametrize("parameter", OF_SOME, ids=[parameter.name for parameter in OF_SOME])
def test_a_parameter_for_other_requests_is_refused_with_advice(model, record, parameter):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request({"data": record, "parameters": {parameter.name: None}})

    advice = "/v1/explain" if parameter.use == "explain" else "`file`"
    assert advice in caught.value.errors[0].message


def test_the_published_schema_of_requests_has_the_same_parameters():
    parameters = static_schema("mapper-request")["properties"]["parameters"]["properties"]

    assert parameters == {parameter.name: parameter.document() for parameter in PARAMETERS}


def test_the_pages_form_names_only_the_parameters_that_it_draws_in_its_own_way():
    folder = files("mapper.http") / "page"
    texts = [one.read_text() for one in folder.iterdir() if one.name.endswith((".js", ".html"))]
    how_features_move = {"mutable_features", "immutable_features", "increase_only", "decrease_only"}

    named = {name for name in NAMES if any(re.search(rf"\b{name}\b", text) for text in texts)}

    assert any("explainRows.properties" in text for text in texts)
    assert named - {"coverage"} == how_features_move  # "coverage" is also a number of every rule


def test_the_fields_of_an_answer_are_those_of_the_table(model, record, page):
    published = static_schema("mapper-response")
    document = openapi_document(model, None)["components"]["schemas"]["Answer"]
    rows = published["properties"]["predictions"]["items"]

    for fields, static, made in (
        (ANSWER_FIELDS, published, document),
        (ROW_FIELDS[model.schema.task], rows, document["properties"]["predictions"]["items"]),
    ):
        names = {field.name for field in fields}
        assert set(static["properties"]) == set(made["properties"]) == names
        required = {field.name for field in fields if field.by_explainer and not field.is_optional}
        assert set(static["required"]) == set(made["required"]) == required
        assert all(f"{field.name}</code>" in page for field in fields)
    assert {field.name for field in ANSWER_FIELDS} == set(TangoResponse.__annotations__)
    assert set(ROW_FIELDS) == set(TASKS)


@pytest.mark.parametrize("coverage", [None, 0.9])
@pytest.mark.parametrize("explain", [False, True])
def test_an_answer_has_the_fields_of_the_table_and_fits_the_document(model, record, explain, coverage):
    mapped = model.get_explainer() if explain else model
    row = {
        "prediction": "Gentoo",
        "probability": 0.75,
        "probability_Adelie": 0.25,
        "probability_Gentoo": 0.75,
    }
    given = {"parameters": {"coverage": coverage}} if coverage else {}
    request = mapped.map_request({"data": record, **given})
    row |= {"prediction_set": ["Gentoo"], "explanation": {}}

    answer = mapped.map_response(ModelAnswer({"predictions": [row]}, request))

    asked = {"explanation": explain, "prediction_set": coverage}
    left_out = {name for name, is_asked in asked.items() if not is_asked}
    names = [field.name for field in ROW_FIELDS["classification"] if field.name not in left_out]
    assert list(answer["predictions"][0]) == names
    document = openapi_document(model, None)
    jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Answer", **document}).validate(answer)
