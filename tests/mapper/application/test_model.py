"""Requests, answers and explanations in an application's words."""

import copy
import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper import ModelSchema, TabularModel
from mapper.application.mapping import Unit
from mapper.application.model import check_mapping
from mapper.errors import InvalidRequestError
from mapper.mapping.answer import ModelAnswer
from tests.mapper.conftest import EXPLANATION, RECORD, ROOT, SCHEMA

GIVEN = {"weight": 4200, "site": "DR", "laid": 3, "lost": 1}
ROW = {"prediction": "Gentoo", "probability": 0.75, "probability_Adelie": 0.25, "probability_Gentoo": 0.75}


def faults_of(model, request):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request(request)
    return [(fault.row, fault.field, fault.kind, fault.message) for fault in caught.value.errors]


def answered(model, request, **more):
    rows = [{**ROW, **more}] * request.n_rows
    return model.map_response(ModelAnswer({"predictions": rows}, request))


def test_a_request_in_the_clients_words_is_what_the_model_takes(mapped):
    request = mapped.map_request({"data": GIVEN, "session": {"desk": 4}})

    assert request == {"inputs": {"mass": [4.2], "eggs": [2], "ringed": [True], "island": ["Dream"]}}
    assert answered(mapped, request)["session"] == {"desk": 4}


@pytest.mark.parametrize(
    "data",
    [
        [GIVEN, {"weight": "3500", "site": " BI ", "lost": "1.0"}, {"weight": 4000.5, "lost": 2}],
        {
            "columns": ["lost", "weight", "site", "laid"],
            "rows": [[1, 4200, "DR", 3], ["1.0", "3500", "Bi", None], [2, 4000.5, "?", 2]],
        },
    ],
)
def test_many_rows_are_translated_with_defaults_lookups_and_missing_values(mapped, data):
    request = mapped.map_request({"data": data})

    rows = request["dataframe_split"]
    assert rows["columns"] == ["mass", "eggs", "ringed", "island"]
    assert rows["data"] == [[4.2, 2, True, "Dream"], [3.5, 1, True, "Biscoe"], [4.0005, 0, True, None]]
    assert request.warning_count == 0


def test_faults_and_warnings_name_what_the_client_sent_in_its_units(mapped):
    rows = [
        {"weight": "heavy", "site": "XX", "lost": 1},
        {"weihgt": 1, "mass": 4.2, "lost": 1.5, "laid": 12},
        {"weight": None, "lost": 1},
    ]
    found = faults_of(mapped, {"data": rows})

    assert [item[:3] for item in found] == [
        (0, "weight", "wrong_type"),
        (0, "site", "unknown_value"),
        (1, "laid", "out_of_range"),
        (1, "lost", "not_whole"),
        (2, "weight", "null_value"),
        (1, "weight", "missing_field"),
    ]
    assert found[1][3] == "'XX' given; one of 'BI', 'DR', 'Bi' expected"
    assert found[2][3] == "12 given, 0 to 9 expected"
    assert found[5][3] == "a required field is missing; is it misspelled as 'weihgt'?"
    request = mapped.map_request({"data": {**GIVEN, "mass": 4.2}})
    assert [str(one) for one in request.warnings] == ["row 0, mass: there is no such field; left out"]
    request = mapped.map_request({"data": {**GIVEN, "weight": 9000, "lost": 9}})
    assert [(w.row, w.field, w.kind, w.message) for w in request.warnings] == [
        (0, "weight", "out_of_range", "9000 is outside the range seen in training, 2500 to 6500"),
        (
            0,
            "laid",
            "out_of_range",
            "computed from laid, lost: -6 is outside the range seen in training, 0 to 3",
        ),
    ]


def test_what_cannot_be_computed_names_the_field_and_not_the_models_column(schema):
    text = b"""
mapping: 1
request:
  born: {type: text, example: 2024-05-01}
  n: {type: number, optional: true, example: 2}
features:
  mass: {expression: 12 / n}
  eggs: {expression: year(born) - 2023}
"""
    model = check_mapping(text, schema)
    found = faults_of(
        model,
        {"data": [{"born": "May", "n": 0, "ringed": True}, {"born": "2024-01-01", "ringed": True}]},
    )

    assert [item[:3] for item in found] == [
        (0, "n", "not_computable"),
        (1, "n", "null_value"),
        (0, "born", "not_computable"),
    ]
    assert found[0][3] == "computed from n: division by zero"
    assert not any("mass" in item[3] or "eggs" in item[3] for item in found)


def test_a_whole_number_is_rounded_after_a_conversion_and_a_huge_one_is_refused(schema):
    model = check_mapping(
        b"mapping: 1\nunits: {dozen: {factor: 12}, tiny: {factor: 1e30}}\n"
        b"request: {dozens: {feature: eggs, unit: dozen}, m: {feature: mass, unit: tiny}}",
        schema,
    )
    given = {"dozens": 0.13, "m": 4e-30, "ringed": True, "island": "Dream"}

    assert model.map_request({"data": given})["inputs"]["eggs"] == [2]
    [(row, field, kind, message)] = faults_of(model, {"data": {**given, "m": 1e20}})
    assert (row, field, kind) == (0, "m", "too_large")
    assert message.startswith("1e+20 tiny is 1e+50 to the model: ")


def test_files_are_refused_with_the_reason(mapped):
    file = {"input_url": "https://s3/a", "output_url": "https://s3/b"}

    [(_, field, _, message)] = faults_of(mapped, {"file": file})

    assert field == "file"
    assert "does not apply to files" in message


def test_the_answer_has_the_applications_fields(mapped):
    answer = answered(mapped, mapped.map_request({"data": GIVEN}))

    assert answer["predictions"] == [
        {
            "species": "G",
            "certainty": 75.0,
            "shares": {"A": 0.25, "G": 0.75},
            "advice": "look again",
            "app": "ringing",
        }
    ]
    jsonschema.validate(answer["predictions"][0], mapped.schema.content["answer"])


def test_classes_may_be_renamed_in_usual_answers(schema):
    model = check_mapping(b"mapping: 1\nanswer: {classes: {Gentoo: 2}}", schema)
    request = model.map_request({"data": RECORD})

    assert answered(model, request)["predictions"] == [
        {"prediction": 2, "probability": 0.75, "probabilities": {"Adelie": 0.25, "2": 0.75}}
    ]


def test_an_explanation_is_told_in_the_clients_words(mapped):
    given = copy.deepcopy(EXPLANATION)
    given["rule"]["premises"] = [
        {"feature": "mass", "above": 3.9, "at_most": 4.25},
        {"feature": "island", "in": ["Biscoe"], "or_missing": True},
        {"feature": "eggs", "above": 1.5},
    ]
    given["counterfactuals"][0]["changes"] += [
        {"feature": "island", "from": "Dream", "to": "Biscoe"},
        {"feature": "eggs", "from": 2, "to": 1},
    ]
    given["feature_importances"] = {"mass": 0.7, "eggs": 0.2, "ringed": 0.1, "island": 0.0}
    explainer = mapped.get_explainer()

    [row] = answered(explainer, explainer.map_request({"data": GIVEN}), explanation=given)["predictions"]

    found = row["explanation"]
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "explanation.schema.json").read_text()))
    assert found["rule"]["text"] == (
        "IF 3900 < weight <= 4250 AND site is BI or Bi or missing AND eggs > 1.5 THEN G"
    )
    assert found["rule"]["premises"][1] == {"feature": "site", "in": ["BI", "Bi"], "or_missing": True}
    assert (found["prediction"], found["rule"]["consequence"]) == ("G", "G")
    assert found["counterfactuals"][0]["text"] == (
        "IF weight were 4000 instead of 4200 AND site were BI instead of DR AND eggs were 1 instead of 2 "
        "THEN A"
    )
    assert found["feature_importances"] == {"weight": 0.7, "eggs": 0.2, "ringed": 0.1, "site": 0.0}
    assert found["notes"] == ["eggs is laid - lost.", "ringed is set by the mapping."]


@pytest.mark.parametrize(
    ("premise", "told", "text"),
    [
        ({"not_in": ["Dream"], "count": 2, "of": 3}, {"in": ["BI", "Bi"]}, "site is BI or Bi"),
        ({"count": 104, "of": 200}, {"count": 104, "of": 200}, "site is one of 104 of 200 values"),
    ],
)
def test_sets_of_many_values_and_what_is_held_fixed_are_told_in_the_clients_words(
    mapped, premise, told, text
):
    given = copy.deepcopy(EXPLANATION)
    given["rule"]["premises"] = [{"feature": "island", **premise}]
    given["held_fixed"] = ["mass", "eggs"]
    given["counterfactuals"][0]["changes"][0]["against"] = True
    explainer = mapped.get_explainer()

    [row] = answered(explainer, explainer.map_request({"data": GIVEN}), explanation=given)["predictions"]

    found = row["explanation"]
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "explanation.schema.json").read_text()))
    assert found["rule"]["premises"] == [{"feature": "site", **told}]
    assert found["rule"]["text"] == f"IF {text} THEN G"
    assert found["held_fixed"] == ["weight", "eggs"]
    assert found["counterfactuals"][0]["changes"][0]["against"] is True


def test_counterfactuals_and_premises_have_only_values_that_the_client_can_say(schema):
    model = check_mapping(
        b"mapping: 1\n"
        b"request:\n"
        b"  weight: {feature: mass, lookup: {light: 3, heavy: 5, unknown: 4}}\n"
        b"  site: {feature: island, lookup: {Dream: Biscoe, none: null}}\n",
        schema,
    )
    given = copy.deepcopy(EXPLANATION)
    one = given["counterfactuals"][0]
    changes = [
        [{"feature": "mass", "from": 5, "to": 4.2}],
        [{"feature": "mass", "from": 5, "to": 3}],
        [{"feature": "island", "from": None, "to": "Dream"}],  # the client's Dream means Biscoe
        [{"feature": "island", "from": None, "to": "Biscoe"}],
    ]
    given["counterfactuals"] = [{**one, "changes": change, "rule": None} for change in changes]
    given["rule"]["premises"] = [{"feature": "island", "in": ["Biscoe", "Dream"]}]
    given["feature_importances"] = {"mass": 0.5, "island": 0.5}
    explainer = model.get_explainer()
    request = explainer.map_request({"data": {"weight": "heavy", "site": "none", "ringed": True}})

    [row] = answered(explainer, request, explanation=given)["predictions"]

    found = row["explanation"]
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "explanation.schema.json").read_text()))
    assert [item["changes"] for item in found["counterfactuals"]] == [
        [{"feature": "weight", "from": "heavy", "to": "light"}],
        [{"feature": "site", "from": "none", "to": "Dream"}],
    ]
    assert found["rule"]["premises"] == [{"feature": "site", "in": ["Dream"]}]
    assert found["notes"] == [
        "A counterfactual is left out: the mapping has no word for its value of weight.",
        "A counterfactual is left out: the mapping has no word for its value of site.",
    ]


def test_parameters_of_explanations_are_in_the_clients_words(mapped):
    explainer = mapped.get_explainer(immutable_features=["site"])
    parameters = {"increase_only": ["weight"], "effort": "fast"}

    request = explainer.map_request({"data": GIVEN, "parameters": parameters})

    assert request["params"] == {
        "immutable_features": ["ringed", "island"],
        "increase_only": ["mass"],
        "effort": "fast",
        "explain": True,
    }
    request = explainer.map_request({"data": GIVEN, "parameters": {"immutable_features": ["lost"]}})
    assert request["params"]["immutable_features"] == ["ringed", "eggs"]
    request = explainer.map_request({"data": GIVEN, "parameters": {"mutable_features": ["site", "lost"]}})
    assert request["params"]["mutable_features"] == ["island"]  # eggs are computed from another field, too
    assert request["params"]["immutable_features"] == ["ringed", "island"]
    for name, words in (("mass", "no feature"), ("lost", "features are computed from 'lost'")):
        request = {"data": GIVEN, "parameters": {"decrease_only": [name]}}
        [(_, field, kind, message)] = faults_of(explainer, request)
        assert (field, kind) == ("parameters.decrease_only", "bad_parameter")
        assert words in message


NUMBER = st.floats(-1e9, 1e9)
FACTOR = st.floats(1e-6, 1e6)


@given(number=NUMBER, factor=FACTOR, offset=st.floats(-1e6, 1e6))
def test_a_unit_leads_there_and_back(number, factor, offset):
    unit = Unit("u", factor, offset)

    back = unit.outward(unit.inward(number))

    lost = 1e-11 * (abs(number) + abs(offset) / factor)  # of the 12 digits that are kept
    assert math.isclose(back, number, rel_tol=1e-9, abs_tol=max(lost, 1e-300))


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
RECORDS = st.fixed_dictionaries(
    {
        "mass": st.floats(2.5, 6.5),
        "eggs": st.none() | st.integers(0, 3),
        "ringed": st.booleans(),
        "island": st.none() | st.sampled_from(["Biscoe", "Dream"]),
    }
)


@given(
    names=st.lists(NAMES, min_size=4, max_size=4, unique=True),
    records=st.lists(RECORDS, min_size=1, max_size=4),
)
def test_renamed_fields_give_the_request_that_the_models_own_names_give(names, records):
    schema = ModelSchema.from_dict(SCHEMA)
    own = dict(zip(schema.feature_names, names, strict=True))
    spare = [name for name in names if name not in own.values()]
    request = {own[name]: {"feature": name} for name in schema.feature_names}
    mapped = check_mapping(
        json.dumps({"mapping": 1, "request": request}, ensure_ascii=False).encode(), schema
    )

    renamed = [{own[name]: value for name, value in record.items()} for record in records]

    assert not spare
    assert mapped.map_request({"data": renamed}) == TabularModel(schema).map_request({"data": records})


@given(records=st.lists(RECORDS, min_size=1, max_size=4), factor=st.sampled_from([0.001, 1 / 7, 12.0, 5 / 9]))
def test_converted_and_looked_up_fields_give_the_models_values_back(records, factor):
    schema = ModelSchema.from_dict(SCHEMA)
    content = {
        "mapping": 1,
        "units": {"u": {"factor": factor, "offset": 1}},
        "request": {
            "m": {"feature": "mass", "unit": "u"},
            "e": {"feature": "eggs", "unit": "u"},
            "r": {"feature": "ringed", "lookup": {"yes": True, "no": False}},
            "i": {"feature": "island", "lookup": {"1": "Biscoe", "2": "Dream"}},
        },
    }
    mapped = check_mapping(json.dumps(content).encode(), schema)
    unit = Unit("u", factor, 1)
    sent = [
        {
            "m": unit.outward(record["mass"]),
            "e": None if record["eggs"] is None else unit.outward(record["eggs"]),
            "r": "yes" if record["ringed"] else "no",
            "i": {"Biscoe": 1, "Dream": "2", None: None}[record["island"]],
        }
        for record in records
    ]

    got, expected = mapped.map_request({"data": sent}), TabularModel(schema).map_request({"data": records})

    assert [rows(got), got.warning_count] == [
        [{**row, "mass": pytest.approx(row["mass"], rel=1e-9)} for row in rows(expected)],
        0,
    ]


def rows(request):
    """Records of a mapped request."""
    if "inputs" in request:
        n_rows = len(next(iter(request["inputs"].values())))
        absent = {name: [None] * n_rows for name in ("mass", "eggs", "ringed", "island")}
        columns = absent | request["inputs"]
        return [{name: column[row] for name, column in columns.items()} for row in range(n_rows)]
    table = request["dataframe_split"]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
