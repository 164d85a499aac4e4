import dataclasses

import numpy as np
import pandas as pd
import pytest

from proto_model.table.caution import Caution
from proto_model.training import SearchResult
from proto_model.training.cautions import Judged, model_cautions


@pytest.fixture
def judged(mixed_data):
    """A variant whose scores and probabilities are believable."""
    y = np.arange(len(mixed_data.y_test)) % 2
    right = np.where(y == 1, 0.7, 0.3)
    names = mixed_data.schema.feature_names
    result = SearchResult(
        variant="random_forest",
        pipeline=None,
        best_params={},
        cv_balanced_accuracy=0.95,
        cv_std=0.01,
        table=pd.DataFrame({"candidate": [0]}),
        fit_seconds=1.0,
        out_of_fold=np.full((len(mixed_data.y_train), 2), 0.5),
    )
    importances = pd.DataFrame({"feature": names, "importance": 0.1, "std": 0.01})
    return Judged(result, mixed_data, y, np.column_stack([1 - right, right]), importances)


def with_first(judged, weight):
    importances = judged.importances.assign(importance=[weight, *[0.02] * (len(judged.importances) - 1)])
    return dataclasses.replace(judged, importances=importances)


def scored(judged, score):
    return dataclasses.replace(judged, result=dataclasses.replace(judged.result, cv_balanced_accuracy=score))


def test_a_good_score_of_many_features_is_believed(judged):
    assert model_cautions(judged) == ()


def test_a_good_score_that_rests_on_one_feature_is_not(judged):
    first = judged.importances["feature"][0]

    (caution,) = model_cautions(with_first(judged, 0.3))

    assert (caution.kind, caution.columns) == ("too_good", (first,))
    assert f"rests on `{first}`: it weighs 15 times as much as any other" in caution.text
    assert caution.text.endswith(f"`-P drop={first}`.")
    assert model_cautions(with_first(judged, 0.06)) == ()
    assert model_cautions(scored(with_first(judged, 0.3), 0.85)) == ()


def test_a_leak_that_is_known_is_not_told_twice(judged):
    known = Caution("leak", (judged.importances["feature"][0],), "told")

    assert model_cautions(with_first(judged, 0.3), [known]) == ()


def test_hardly_an_error_is_too_good_whatever_it_rests_on(judged):
    (caution,) = model_cautions(scored(judged, 0.9995))

    assert caution.kind == "too_good"
    assert "Hardly an error" in caution.text
    assert model_cautions(scored(judged, 0.99)) == ()


def test_probabilities_that_are_off_on_average_are_not_to_be_read_as_risks(judged):
    shifted = judged.probabilities + np.array([-0.12, 0.12])

    (caution,) = model_cautions(dataclasses.replace(judged, probabilities=shifted))

    assert caution.kind == "biased_probabilities"
    assert "0.62 instead of 0.50 for yes" in caution.text
