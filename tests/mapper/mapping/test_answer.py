import contextlib

import pytest

from mapper import ModelAnswer, ModelServerProxy
from mapper.errors import ModelServerAnswerError, ModelServerDownError, RefusedByModelError
from mapper.mapping.answer import clean_message, read_answer

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
    from mapper import TabularModel

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
    from mapper import ModelSchema, TabularModel

    content = {**schema.content, "classes": [0, 1], "target": {"name": "y", "type": "long"}}
    model = TabularModel(ModelSchema.from_dict(content))
    row = {"prediction": 1.0, "probability": 0.9, "probability_0": 0.1, "probability_1": 0.9}

    item = model.map_response({"predictions": [row]})["predictions"][0]

    assert repr(item["prediction"]) == "1"
    assert item["probabilities"] == {"0": 0.1, "1": 0.9}


@pytest.mark.parametrize("retry_after", [None, "", "Wed, 21 Oct 2026", "-5", "0", "99999999"])
def test_retry_after_is_always_a_sensible_number(retry_after):
    with pytest.raises(ModelServerDownError) as caught:
        read_answer(503, retry_after, b"")

    assert 1 <= caught.value.retry_after_s <= 3600


def test_messages_are_cut_and_cleaned():
    assert clean_message("Failed to predict data '5'.") == "no reason given"
    assert len(clean_message("x" * 9000)) == 2001
    with pytest.raises(RefusedByModelError, match="bad row"):
        read_answer(422, None, b'{"detail": "bad row"}')
