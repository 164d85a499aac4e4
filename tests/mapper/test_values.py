"""The rule book for values, held to schemas/cases/values.json through every entry point of the mapper."""

import contextlib
import csv
import io
import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper import InvalidRequestError, ModelSchema, TabularModel
from mapper.cli.main import main
from mapper.http.openapi import openapi_document
from mapper.mapping.values import LARGEST, MISSING_MARKERS, SPACES

CONTENT = json.loads((Path(__file__).resolve().parents[2] / "schemas" / "cases" / "values.json").read_text())
CASES = CONTENT["cases"]
SCHEMA = ModelSchema.from_dict(CONTENT["schema"])
TYPES = {feature.name: feature.type for feature in SCHEMA.features}
MODEL = TabularModel(SCHEMA)
# The kinds of faults in the cases, and what the mapper's 422 calls them.
KINDS = {
    "missing": {"null_value"},
    "not_a_number": {"wrong_type"},
    "not_boolean": {"wrong_type"},
    "not_text": {"wrong_type"},
    "not_a_date": {"wrong_type"},
    "not_a_day": {"not_a_day"},
    "not_whole": {"not_whole"},
    "too_large": {"too_large", "not_finite"},
}
VERDICTS = ("number", "boolean", "category", "date", "terms", "unseen", "missing", "rejected")
ANSWER = {
    "predictions": [{"prediction": "no", "probability": 1.0, "probability_no": 1.0, "probability_yes": 0.0}]
}


def record_with(case):
    """A good row, with the value of a case."""
    return {**SCHEMA.typical_record, case["feature"]: case["value"]}


def table_with(case):
    record = record_with(case)
    return {"columns": list(record)[::-1], "rows": [list(record.values())[::-1]]}


def verdict_of(case, sent, warnings):
    """What was made of a value, in the words of the cases, by what the model server gets."""
    if any(warning["kind"] == "unseen_category" for warning in warnings):
        return "unseen", True
    value = value_of(case["feature"], sent)
    if value is None:
        return "missing", True
    if isinstance(value, bool):
        return "boolean", value
    if TYPES[case["feature"]] in ("date", "datetime", "text"):
        return arrived(case, value)
    return ("category", value) if isinstance(value, str) else ("number", float(value))


def arrived(case, value):
    """A date or a text as the model server got it, which reads it as it reads the value of the case."""
    kind = "terms" if TYPES[case["feature"]] == "text" else "date"
    assert value.strip(SPACES) == case["value"].strip(SPACES)
    return kind, case.get(kind)


def value_of(name, sent):
    if "inputs" in sent:
        return sent["inputs"].get(name, [None])[0]
    table = sent["dataframe_split"]
    return dict(zip(table["columns"], table["data"][0], strict=True))[name]


def check(verdict_by, cases=CASES):
    """Every case gets its verdict; `verdict_by` gives that of an entry point."""
    wrong = []
    for case in cases:
        kind = next(name for name in VERDICTS if name in case)
        got, value = verdict_by(case)
        expected = case[kind]
        fits = (
            value in KINDS[expected] if kind == "rejected" and got == kind else repr(value) == repr(expected)
        )
        if got != kind or not fits:
            wrong.append((case, got, value))
    assert wrong == []


FORMS = {"record": record_with, "list": lambda case: [record_with(case)], "table": table_with}


def before_texts(case):
    """The row with the value, and others that hold texts only, as a CSV file does."""
    texts = {name: text_of(value) for name, value in SCHEMA.typical_record.items()}
    return [record_with(case), texts, texts]


def by_library(case, form):
    try:
        request = MODEL.map_request({"data": FORMS.get(form, before_texts)(case)})
    except InvalidRequestError as error:
        (fault,) = error.errors
        assert fault.field == case["feature"]
        return "rejected", fault.kind
    return verdict_of(case, json.loads(json.dumps(request)), [w.to_dict() for w in request.warnings])


@pytest.mark.parametrize("form", [*FORMS, "before texts"])
def test_the_library(form):
    check(lambda case: by_library(case, form))


@pytest.fixture(scope="module")
def cases_schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("cases") / "schema.json"
    path.write_text(json.dumps(CONTENT["schema"]))
    return path


@pytest.fixture(scope="module")
def cases_service(start_service, _model_server, cases_schema):
    flags = ("--model-server-url", _model_server.url, "--schema", str(cases_schema))
    with start_service(*flags) as service:
        yield service


@pytest.mark.parametrize("form", FORMS)
def test_the_service(cases_service, model_server, form):
    model_server.answer = ANSWER

    def by_service(case):
        status, answer, _ = cases_service.call("/v1/predict", {"data": FORMS[form](case)})
        if status == 422:
            (fault,) = answer["errors"]
            return "rejected", fault["kind"]
        assert status == 200, answer
        return verdict_of(case, model_server.requests[-1], answer["warnings"])

    check(by_service)


def text_of(value):
    """A value as CSV holds it."""
    return "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def fits_text(case):
    """Whether a text carrier can hold the value of a case, so that it remains the value of that case."""
    value = case["value"]
    return isinstance(value, str | None) or (
        not isinstance(value, list | dict) and TYPES[case["feature"]] not in ("string", "text")
    )


def as_pairs(case, path):
    return [f"{name}={text_of(value)}" for name, value in record_with(case).items()]


def as_csv(case, path):
    out = io.StringIO()
    csv.writer(out).writerows([record_with(case), map(text_of, record_with(case).values())])
    path.write_text(out.getvalue(), newline="")
    return ["--data", str(path)]


def as_json(case, path):
    path.write_text(json.dumps({"data": [record_with(case)]}))
    return ["--data", str(path)]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("carrier", [as_pairs, as_csv, as_json])
def test_the_command_line(cases_service, cases_schema, model_server, tmp_path, capsysbinary, carrier, direct):
    model_server.answer = ANSWER
    flags = ["--model-server-url", model_server.url, "--schema", str(cases_schema)]
    command = ["predict", "--json", *(flags if direct else ["--url", cases_service.url])]

    def by_command(case):
        status = main([*command, *carrier(case, tmp_path / "rows")])
        said = capsysbinary.readouterr()
        if status:
            # A sentence for people, which has no kind: it is enough that the field is named.
            assert f"row 0, {case['feature']}: ".encode() in said.err, said.err
            return "rejected", next(iter(KINDS[case["rejected"]])) if "rejected" in case else "?"
        return verdict_of(case, model_server.requests[-1], json.loads(said.out)["warnings"])

    check(by_command, CASES if carrier is as_json else [case for case in CASES if fits_text(case)])


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(MISSING_MARKERS)
    | st.from_regex(r"[ \u3000]?[+-]?[0-9]{0,3}\.?[0-9]{0,3}(e[0-9]{1,2})? ?", fullmatch=True)
    | st.sampled_from([case["value"] for case in CASES]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@given(feature=st.sampled_from(SCHEMA.feature_names), value=JSON_VALUES)
def test_any_value_gets_the_same_verdict_in_every_form(feature, value):
    case = {"feature": feature, "value": value}

    verdicts = {repr(by_library(case, form)) for form in [*FORMS, "before texts"]}

    assert len(verdicts) == 1


@given(feature=st.sampled_from(SCHEMA.feature_names), text=st.text(), spaces=st.text(SPACES, min_size=1))
def test_spaces_around_a_text_change_nothing(feature, text, spaces):
    """Unless there is such a category, to the letter."""
    plain, padded = (
        by_library({"feature": feature, "value": value}, "record") for value in (text, spaces + text + spaces)
    )

    assert plain == padded


@given(number=st.floats(-LARGEST, LARGEST) | st.integers(-(2**70), 2**70))
def test_a_number_is_the_same_as_its_text(number):
    values = [
        by_library({"feature": "required number", "value": value}, "record")
        for value in (number, str(number))
    ]

    assert repr(values[0]) == repr(values[1])


@pytest.mark.parametrize(
    ("feature", "value", "verdict"),
    [
        ("number", np.float32(0.5), ("number", 0.5)),
        ("number", np.int64(5), ("number", 5.0)),
        ("number", Decimal("0.5"), ("number", 0.5)),
        ("number", Decimal("NaN"), ("missing", True)),
        ("number", Decimal("sNaN"), ("missing", True)),
        ("number", Decimal("1e999"), ("rejected", "not_finite")),
        ("number", np.bool_(True), ("rejected", "wrong_type")),
        ("number", float("nan"), ("missing", True)),
        ("required number", float("nan"), ("rejected", "null_value")),
        ("truth", np.bool_(True), ("boolean", True)),
        ("truth", np.float64(1), ("boolean", True)),
        ("job", np.str_(" nurse"), ("category", "nurse")),
        ("number", object(), ("rejected", "wrong_type")),
        ("number", np.zeros(3), ("rejected", "wrong_type")),
    ],
)
def test_values_of_python_and_numpy_are_read_as_well(feature, value, verdict):
    assert by_library({"feature": feature, "value": value}, "record") == verdict


def test_a_long_text_of_digits_is_refused_at_once():
    assert by_library({"feature": "number", "value": "1" * 10**6 + "x"}, "record") == (
        "rejected",
        "wrong_type",
    )


def test_the_openapi_document_accepts_what_the_mapper_accepts():
    jsonschema = pytest.importorskip("jsonschema")
    document = openapi_document(MODEL, "rows")
    record = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Record", **document})
    # A pattern cannot say that a large exponent is too large, or that 3.7e1 is whole.
    beyond_patterns = {" 3.7e1", "1e0", "0.0"}
    # Nor which days there are, and what an offset makes of them.
    beyond_patterns |= {"2024-02-30", "2023-02-29", "0000-01-01", "2024-03-01T00:00:00+02:00"}
    beyond_patterns |= {"0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"}

    wrong = [
        case
        for case in CASES
        if record.is_valid(record_with(case)) != ("rejected" not in case)
        and repr(case["value"]).strip("'") not in beyond_patterns
    ]

    assert wrong == []


def test_half_a_surrogate_pair_can_be_sent():
    with contextlib.suppress(InvalidRequestError):
        request = MODEL.map_request({"data": {**SCHEMA.typical_record, "job": "\udcff"}})
        assert math.isfinite(len(json.dumps(request, ensure_ascii=False).encode()))
