import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper import ModelAnswer, ModelSchema, ModelServerProxy, TabularModel
from mapper.errors import InvalidRequestError, ModelServerAnswerError, ModelServerDownError
from tests.mapper.conftest import SCHEMA

ROW = {"prediction": "Gentoo", "probability": 0.75, "probability_Adelie": 0.25, "probability_Gentoo": 0.75}


@pytest.fixture
def open_proxy():
    with contextlib.ExitStack() as opened:
        yield lambda url: opened.enter_context(contextlib.closing(ModelServerProxy(url)))


def test_the_library_does_the_whole_way(model, model_server, record, open_proxy):
    proxy = open_proxy(model_server.url)
    request = model.map_request({"data": [record, record]}, session="s")

    answer = model.map_response(proxy.invoke("predict", request))

    assert [item["prediction"] for item in answer["predictions"]] == ["Gentoo", "Gentoo"]
    assert answer["session"] == "s"
    assert answer["model"] == {"name": "penguins", "version": "7"}
    assert proxy.get_model_server_url() == model_server.url


def test_the_library_explains(model, model_server, record, open_proxy):
    proxy = open_proxy(model_server.url)
    explainer = model.get_explainer(max_counterfactuals=1)

    answer = explainer.map_response(proxy.invoke("explain", explainer.map_request({"data": record})))

    assert answer["predictions"][0]["explanation"]["engine"] == "lore"
    with pytest.raises(ValueError, match="'predict' or 'explain' expected"):
        proxy.invoke("train", {})


def test_an_explanation_that_does_not_come_is_a_wrong_answer(model, record):
    request = model.get_explainer().map_request({"data": record})

    with pytest.raises(ModelServerAnswerError, match="explanation' is missing"):
        model.map_response(ModelAnswer({"predictions": [ROW]}, request))


def test_a_proxy_without_server_says_so(model, record):
    with pytest.raises(ModelServerDownError, match="Is it running"):
        ModelServerProxy("http://127.0.0.1:9").invoke("predict", model.map_request({"data": record}))


def test_another_explainer_can_be_put_in_place(schema):
    model, other = TabularModel(schema), TabularModel(schema)
    model.set_explainer(other)

    assert model.get_explainer() is other


def test_a_plain_answer_is_mapped_without_its_request(model):
    assert model.map_response({"predictions": [ROW]})["predictions"][0]["probabilities"]["Adelie"] == 0.25


def test_the_number_of_rows_must_be_that_of_the_request(model, record):
    request = model.map_request({"data": [record] * 2})

    with pytest.raises(ModelServerAnswerError, match="answered 1 rows instead of 2"):
        model.map_response(ModelAnswer({"predictions": [ROW]}, request))


def test_labels_come_back_as_in_the_schema(schema):
    content = {**schema.content, "classes": [0, 1], "target": {"name": "y", "type": "long"}}
    model = TabularModel(ModelSchema.from_dict(content))
    row = {"prediction": 1.0, "probability": 0.9, "probability_0": 0.1, "probability_1": 0.9}

    item = model.map_response({"predictions": [row]})["predictions"][0]

    assert repr(item["prediction"]) == "1"
    assert item["probabilities"] == {"0": 0.1, "1": 0.9}


def model_of(schema, classes, kind):
    return TabularModel(
        ModelSchema.from_dict({**schema.content, "classes": classes, "target": {"name": "y", "type": kind}})
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability": 0.1}, "its probability is not that of the predicted class"),
        ({"prediction": "Adelie", "probability": 0.75}, "its probability is not that of the predicted class"),
        ({"prediction": "Adelie"}, "its probability is not that of the predicted class"),
        ({"probability_Adelie": 0.75}, "its probabilities cannot be read: they sum to 1.5, not to 1"),
        ({"probability_Adelie": 0.0}, "its probabilities cannot be read: they sum to 0.75, not to 1"),
        ({"probability_Adelie": False, "probability_Gentoo": True, "probability": 1}, "probabilities"),
        ({"probability_Adelie": 0, "probability_Gentoo": 1, "probability": True}, "probability"),
        ({"probability_Adelie": "0.25"}, "probabilities"),
        ({"probability_Adelie": None}, "probabilities"),
        ({"probability_Adelie": math.nan}, "probabilities"),
        ({"probability": math.nan}, "probability"),
        ({"probability_Adelie": -0.25, "probability_Gentoo": 1.25, "probability": 1.25}, "between 0 and 1"),
        ({"probability_Gentoo": math.inf, "probability": math.inf}, "between 0 and 1"),
        ({"probability_Chinstrap": 0.0}, "the schema has no class for 'probability_Chinstrap'"),
        ({"prediction": ["Gentoo"]}, "prediction"),
        ({"prediction": "Chinstrap"}, "the schema has no class 'Chinstrap'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("n_before", [0, 3])
def test_an_answer_that_contradicts_itself_is_refused(model, change, words, n_before):
    rows = [ROW] * n_before + [{**ROW, **change}]

    with pytest.raises(ModelServerAnswerError) as caught:
        model.map_response({"predictions": rows})

    assert str(caught.value).startswith(f"Row {n_before} of the model server's answer does not fit")
    assert words in str(caught.value)


def test_of_equally_probable_classes_any_may_be_predicted(model):
    for label in ("Adelie", "Gentoo"):
        row = {"prediction": label, "probability": 0.5, "probability_Adelie": 0.5, "probability_Gentoo": 0.5}

        assert model.map_response({"predictions": [row]})["predictions"][0]["prediction"] == label


def test_probabilities_may_be_rounded_to_32_bits(model):
    adelie, gentoo = struct.unpack("2f", struct.pack("2f", 1 / 3, 2 / 3))
    row = {
        "prediction": "Gentoo",
        "probability": gentoo,
        "probability_Adelie": adelie,
        "probability_Gentoo": gentoo,
    }

    assert model.map_response({"predictions": [row]})["predictions"][0]["probability"] == gentoo


def test_a_truth_value_is_no_label_of_a_number_and_the_other_way_round(schema):
    numbers, truths = model_of(schema, [0, 1], "long"), model_of(schema, [False, True], "boolean")
    of_numbers = {"prediction": 1, "probability": 0.9, "probability_0": 0.1, "probability_1": 0.9}
    of_truths = {"prediction": True, "probability": 0.9, "probability_false": 0.1, "probability_true": 0.9}

    assert numbers.map_response({"predictions": [of_numbers]})["predictions"][0]["prediction"] == 1
    assert truths.map_response({"predictions": [of_truths]})["predictions"][0]["prediction"] is True
    for mapped, row, label in ((numbers, of_numbers, True), (truths, of_truths, 1)):
        with pytest.raises(ModelServerAnswerError, match="the schema has no class"):
            mapped.map_response({"predictions": [{**row, "prediction": label}]})


@given(st.lists(st.integers(0, 1 << 20), min_size=2, max_size=2).filter(any), st.data())
def test_what_a_forest_can_answer_is_taken_and_nothing_else(votes, data):
    """Any consistent answer passes; the same with one number changed beyond rounding does not."""
    model = TabularModel(ModelSchema.from_dict(SCHEMA))
    shares = [vote / sum(votes) for vote in votes]
    top = max(shares)
    row = {
        "prediction": ("Adelie", "Gentoo")[shares.index(top)],
        "probability": top,
        "probability_Adelie": shares[0],
        "probability_Gentoo": shares[1],
    }
    key = data.draw(st.sampled_from([name for name in row if name != "prediction"]))
    other = data.draw(st.floats().filter(lambda number: not abs(number - row[key]) <= 1e-5))

    assert model.map_response({"predictions": [row]})["predictions"][0]["probability"] == top
    with pytest.raises(ModelServerAnswerError):
        model.map_response({"predictions": [{**row, key: other}]})


def test_a_decision_by_costs_need_not_be_the_most_probable_class(model):
    row = {**ROW, "prediction": "Adelie", "probability": 0.25}

    (item,) = model.map_response({"predictions": [row]})["predictions"]

    assert (item["prediction"], item["probability"]) == ("Adelie", 0.25)


def test_a_prediction_set_comes_when_it_was_asked_for(model, record):
    request = model.map_request({"data": record, "parameters": {"coverage": 0.9}})
    row = {**ROW, "prediction_set": ["Adelie", "Gentoo"]}

    (item,) = model.map_response(ModelAnswer({"predictions": [row]}, request))["predictions"]

    assert request["params"] == {"coverage": 0.9}
    assert item["prediction_set"] == ["Adelie", "Gentoo"]


@pytest.mark.parametrize("members", [None, [], "Adelie", ["Chinstrap"], [["Adelie"]]], ids=str)
def test_a_prediction_set_that_does_not_fit_is_refused(model, record, members):
    request = model.map_request({"data": record, "parameters": {"coverage": 0.9}})
    row = ROW if members is None else {**ROW, "prediction_set": members}

    with pytest.raises(ModelServerAnswerError, match="prediction_set"):
        model.map_response(ModelAnswer({"predictions": [row]}, request))


@pytest.mark.parametrize("coverage", [0.4, 1, True, "0.9", math.nan, None], ids=str)
def test_a_coverage_outside_its_limits_is_refused(model, record, coverage):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request({"data": record, "parameters": {"coverage": coverage}})

    assert "a number from 0.5 to 0.999 expected" in caught.value.errors[0].message
