import threading

import numpy as np
import pytest

from proto_model.errors import InputError
from proto_model.model import Predictor
from proto_model.parameters import EXPLAINER, FILE
from proto_model.table import encode


@pytest.fixture
def matrix(mixed_data):
    return encode(mixed_data.X_test.head(3), mixed_data.schema)


def test_an_answer_has_what_the_parameters_ask_for(forest_model, matrix):
    predictor = Predictor(forest_model)

    plain = predictor.answer(matrix)
    explained = predictor.answer(matrix, predictor.parameters({"explain": True, "seed": 3}))

    assert plain.explanations is None
    assert [explanation["neighborhood"]["seed"] for explanation in explained.explanations] == [3, 3, 3]
    np.testing.assert_array_equal(plain.scores, explained.scores)
    np.testing.assert_array_equal(plain.scores, forest_model.predict_proba(matrix))


def test_the_explainer_explains_unasked(forest_model, matrix):
    predictor = Predictor(forest_model, EXPLAINER)

    records = predictor.answer(matrix[:1]).records()

    assert list(records[0]) == ["prediction", "probability", "explanation"]


def test_parameters_that_do_not_fit_the_schema_are_refused(forest_model):
    with pytest.raises(InputError, match="no feature 'shoe size'"):
        Predictor(forest_model).parameters({"immutable_features": ["shoe size"]})


def test_go_on_is_called_after_each_row_and_ends_the_work(forest_model, matrix):
    predictor = Predictor(forest_model)
    calls = []

    def go_on():
        calls.append(1)
        if len(calls) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        predictor.answer(matrix, predictor.parameters({"explain": True}), go_on)


def test_threads_share_one_explainer(forest_model):
    predictor = Predictor(forest_model)
    found = []
    threads = [threading.Thread(target=lambda: found.append(predictor.explainer("lore"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(map(id, found))) == 1


def test_processes_explain_as_threads_do(forest_model, matrix):
    predictor = Predictor(forest_model, FILE)
    parameters = predictor.parameters({"explain": True})

    with predictor.explaining(parameters, 1) as explain:
        assert explain(matrix) == predictor.explain(matrix, parameters)
    with predictor.explaining(predictor.parameters({}), 1) as explain:
        assert explain is None
