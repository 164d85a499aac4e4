import numpy as np
import pandas as pd
import pytest

from proto_model.training.selection.cautions import selection_cautions
from proto_model.training.selection.references import BOOSTING, FREQUENCIES, LINEAR
from proto_model.training.selection.result import FoldScores, Reference, SearchResult

NOISE = np.array([0.01, -0.01, 0.02, -0.02, 0.0])


def folds(log_loss, noise=NOISE):
    return FoldScores({"log_loss": log_loss + noise, "roc_auc": 1 - log_loss - noise}, np.full(5, 20.0))


def result(log_loss=0.4, frequencies=0.69, linear=0.5, boosting=0.41, metric="log_loss"):
    beside = ((FREQUENCIES, False, frequencies), (LINEAR, False, linear), (BOOSTING, True, boosting))
    return SearchResult(
        variant="extra_trees", pipeline=None, best_params={}, cv_balanced_accuracy=0.5, cv_std=0.0,
        table=pd.DataFrame(), fit_seconds=0.0, out_of_fold=np.zeros((0, 2)), metric=metric,
        folds=folds(log_loss),
        references=tuple(Reference(n, top, folds(score, NOISE[::-1]), {}, 0.1) for n, top, score in beside),
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
@pytest.mark.parametrize(
    ("scores", "kinds"),
    [
        ({}, []),
        ({"frequencies": 0.4}, ["guessing"]),
        ({"frequencies": 0.401}, ["guessing"]),
        ({"linear": 0.3}, ["linear_model"]),
        ({"linear": 0.399}, ["linear_model"]),
        ({"boosting": 0.3}, ["yardstick"]),
        ({"boosting": 0.395}, []),
        ({"log_loss": 0.7}, ["guessing", "linear_model", "yardstick"]),
    ],
)
def test_a_forest_that_is_no_better_than_a_floor_or_far_from_the_yardstick_gets_a_caution(
    metric, scores, kinds
):
    found = selection_cautions(result(**scores, metric=metric))

    assert [caution.kind for caution in found] == kinds


def test_a_caution_gives_both_figures():
    better, tied = result(linear=0.3), result(linear=0.399)

    assert "a linear model is better: log loss 0.3000 against 0.4000" in (selection_cautions(better)[0].text)
    assert "a linear model is as good" in selection_cautions(tied)[0].text


def test_without_references_there_is_nothing_to_say():
    alone = SearchResult("extra_trees", None, {}, 0.5, 0.0, pd.DataFrame(), 0.0, np.zeros((0, 2)))

    assert selection_cautions(alone) == []


def test_chance_alone_seldom_makes_the_yardstick_clearly_better():
    # Forest and yardstick are equally good: folds differ by chance.
    rng = np.random.default_rng(0)
    n_cautions = 0
    for _ in range(2000):
        own, other = folds(0.4, rng.normal(0, 0.02, 5)), folds(0.4, rng.normal(0, 0.02, 5))
        equal = SearchResult(
            "extra_trees", None, {}, 0.5, 0.0, pd.DataFrame(), 0.0, np.zeros((0, 2)), folds=own,
            references=(Reference(BOOSTING, True, other, {}, 0.1),),
        )  # fmt: skip
        n_cautions += len(selection_cautions(equal))

    assert n_cautions / 2000 < 0.03
