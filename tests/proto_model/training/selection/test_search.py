import dataclasses
import io
import math
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console
from sklearn.model_selection import StratifiedKFold, cross_val_score

from proto_model.errors import DataError
from proto_model.table import RawTable, prepare
from proto_model.training import VARIANTS, make_pipeline, search_progress, searches
from proto_model.training.metrics import Metric
from proto_model.training.selection import scoring
from proto_model.training.selection.references import BOOSTING, FREQUENCIES, LINEAR

SMALL = dataclasses.replace(
    VARIANTS["random_forest"],
    defaults={"n_estimators": 8},
    space={"min_samples_leaf": [1, 4, 16], "max_features": ["sqrt", 0.5]},
)


def search(variant, *arguments, **options):
    """Result of a single search."""
    with searches([variant], *arguments, **options) as results:
        return next(results)


@pytest.fixture(autouse=True)
def without_references(request, monkeypatch):
    """Most of these tests do not look at the models beside the forests."""
    if "references" not in request.node.name:
        monkeypatch.setattr(
            "proto_model.training.selection.search.judged_references", lambda rows, random_state: ()
        )


@pytest.fixture(scope="module")
def calls():
    """What the search told its progress."""
    return []


@pytest.fixture(scope="module")
def result(mixed_data, calls):
    return search(SMALL, mixed_data, 4, 0, lambda *call: calls.append(call), metric="balanced_accuracy")


def test_labels_between_whole_numbers_are_classes_too(mixed_data):
    labels = {part: np.where(getattr(mixed_data, part) == "yes", 1.5, 0.25) for part in ("y_train", "y_test")}
    data = dataclasses.replace(mixed_data, **labels)

    pipeline = search(SMALL, data, 1, 0).pipeline

    assert pipeline.classes_.tolist() == [0.25, 1.5]
    assert set(pipeline.predict(data.X_test)) == {0.25, 1.5}


def test_the_first_candidate_is_the_defaults_and_the_best_is_grown_whole_and_chosen(result):
    table = result.table

    assert table.shape[0] == 4
    assert table.loc[0, "n_estimators"] == 8
    assert np.isnan(table.loc[0, "min_samples_leaf"])
    assert table["n_trees"].sort_values().tolist() == [2, 2, 2, 8]
    assert table.loc[table["chosen"], "n_trees"].tolist() == [8]
    assert table.loc[table["chosen"], "cv_balanced_accuracy"].item() == pytest.approx(
        result.cv_balanced_accuracy
    )


def test_who_falls_behind_does_not_depend_on_which_thread_is_first(mixed_data):
    found = [search(SMALL, mixed_data, 8, 3, n_jobs=n_jobs).table for n_jobs in (1, 2, 4)]

    assert found[0]["n_trees"].tolist().count(8) == 2
    for table in found[1:]:
        assert table.drop(columns="fit_seconds").equals(found[0].drop(columns="fit_seconds"))


def test_few_candidates_are_all_grown_whole(mixed_data):
    assert search(SMALL, mixed_data, 3).table["n_trees"].tolist() == [8, 8, 8]


@pytest.mark.parametrize("metric", ["log_loss", "brier", "roc_auc"])
def test_the_smallest_of_those_within_one_standard_error_is_chosen(mixed_data, metric):
    result = search(SMALL, mixed_data, 3, metric=metric)
    table = result.table
    losses = table[[f"fold_{fold}" for fold in range(5)]].to_numpy() * (-1 if metric == "roc_auc" else 1)
    best = losses[losses.mean(axis=1).argmin()]
    behind = losses.mean(axis=1) - best.mean()
    errors = (losses - best).std(axis=1, ddof=1) / np.sqrt(5)
    ties = behind <= np.minimum(errors, 0.05 * abs(best.mean())) + 1e-12

    assert table.loc[table["chosen"], "n_nodes"].item() == table.loc[ties, "n_nodes"].min()
    assert result.folds.means[metric] == pytest.approx(table.loc[table["chosen"], f"cv_{metric}"].item())


def test_a_forest_of_bad_probabilities_is_not_chosen_for_its_labels():
    # A weak signal and a rare class: trees grown to the end find more of it, and are wrong with certainty.
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    y = np.where(rng.random(400) < 0.1 + 0.4 * (X["a"] > 0), "yes", "no")
    data = prepare(RawTable("made", "made", pa.Table.from_pandas(X.assign(y=y))), "y")
    certain = dataclasses.replace(
        VARIANTS["extra_trees"], defaults={"n_estimators": 10}, space={"min_samples_leaf": [20]}
    )

    by_log_loss = search(certain, data, 2)
    by_labels = search(certain, data, 2, metric="balanced_accuracy")

    assert by_log_loss.best_params["min_samples_leaf"] == 20
    assert "min_samples_leaf" not in by_labels.best_params
    assert by_labels.folds.mean("log_loss") > 1.5 * by_log_loss.folds.mean("log_loss")


def test_a_metric_that_no_fold_defines_is_refused(mixed_data, monkeypatch):
    monkeypatch.setitem(scoring.BY_NAME, "roc_auc", Metric("roc_auc", "ROC", lambda p: np.nan))

    with pytest.raises(DataError, match=r"roc_auc is not defined in any fold.*Choose by log_loss"):
        search(SMALL, mixed_data, 1, metric="roc_auc")
    with pytest.raises(ValueError, match="metric 'gini' given"):
        search(SMALL, mixed_data, 1, metric="gini")


def test_the_references_are_judged_by_the_same_folds(mixed_data):
    result = search(SMALL, mixed_data, 1)

    assert [reference.name for reference in result.references] == [FREQUENCIES, LINEAR, BOOSTING]
    assert [reference.is_yardstick for reference in result.references] == [False, False, True]
    floor = result.references[0]
    rates = np.unique(mixed_data.y_train, return_counts=True)[1] / len(mixed_data.y_train)
    assert floor.folds.mean("log_loss") == pytest.approx(-(rates * np.log(rates)).sum(), rel=0.01)
    for reference in result.references:
        assert reference.folds.by_metric["brier"].shape == (5,)
        assert {"log_loss", "balanced_accuracy"} <= set(reference.test_metrics)


def test_encodings_and_ways_with_gaps_compete(mixed_data):
    table = search("random_forest", mixed_data, 6).table

    assert {"categories", "numbers"} <= set(table.columns)
    assert table["numbers"].dropna().nunique() == 2


def test_the_score_is_the_one_of_cross_validating_the_whole_pipeline(result, mixed_data):
    pipeline = make_pipeline(SMALL, mixed_data.schema, 0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    scores = cross_val_score(
        pipeline, mixed_data.X_train, mixed_data.y_train, cv=folds, scoring="balanced_accuracy"
    )
    whole = search(SMALL, mixed_data, 1, metric="balanced_accuracy")

    assert_allclose(whole.table.loc[0, [f"fold_{fold}" for fold in range(5)]].astype(float), scores)
    assert_allclose(whole.cv_balanced_accuracy, scores.mean(), atol=1e-3)  # folds count by their rows


def test_the_best_is_fitted_on_all_training_rows(result, mixed_data):
    again = make_pipeline(SMALL, mixed_data.schema, 0, **result.best_params)
    again.fit(mixed_data.X_train, mixed_data.y_train)

    assert_array_equal(
        result.pipeline.predict_proba(mixed_data.X_test), again.predict_proba(mixed_data.X_test)
    )
    assert result.pipeline.named_steps["forest"].n_jobs is None


def test_the_number_of_threads_does_not_change_the_result(result, mixed_data):
    alone = search(SMALL, mixed_data, 4, 0, n_jobs=1, metric="balanced_accuracy")

    columns = result.table.columns.drop("fit_seconds")
    assert alone.table[columns].equals(result.table[columns])
    assert_array_equal(
        alone.pipeline.predict_proba(mixed_data.X_test), result.pipeline.predict_proba(mixed_data.X_test)
    )


def test_progress_is_told_after_each_fit(result, calls):
    assert [call[:3] for call in calls] == [("random_forest", done, 25) for done in range(1, 26)]
    assert math.isnan(calls[0][3])
    assert calls[-1][3] == pytest.approx(result.cv_balanced_accuracy)


def test_the_next_search_goes_on_while_a_result_is_worked_on(mixed_data):
    second = dataclasses.replace(SMALL, name="second")
    going_on = threading.Event()

    def tell(variant, *_):
        if variant == "second":
            going_on.set()

    with searches([SMALL, second], mixed_data, 2, progress=tell) as results:
        first = next(results)
        assert going_on.wait(60)
        assert [first.variant, next(results).variant] == ["random_forest", "second"]


def test_searches_end_with_their_context(mixed_data):
    slow = dataclasses.replace(SMALL, defaults={"n_estimators": 300})
    interval, leaving, calls = sys.getswitchinterval(), threading.Event(), []

    def tell(*call):
        calls.append(call)
        leaving.wait(60)

    with searches([slow, slow], mixed_data, 7, progress=tell, n_jobs=1):
        leaving.set()

    assert len(calls) < 2 * 7 * 5
    assert sys.getswitchinterval() == interval


def test_one_candidate_and_more_than_the_space_holds_are_fine(mixed_data):
    assert len(search(SMALL, mixed_data, 1).table) == 1
    every = search(SMALL, mixed_data, 80).table[["min_samples_leaf", "max_features", "categories", "numbers"]]
    assert len(every) == 1 + 3 * 2 * 2 * 2
    assert not every.duplicated().any()


def test_no_candidate_is_an_error(mixed_data):
    with pytest.raises(ValueError, match="n_candidates 0 given, 1 or more"):
        search(SMALL, mixed_data, 0)


def test_an_error_in_a_fit_ends_the_search(mixed_data):
    broken = dataclasses.replace(SMALL, defaults={"n_estimators": -1})

    with pytest.raises(ValueError, match="n_estimators"):
        search(broken, mixed_data, 2)


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    with search_progress(
        Console(file=out, force_terminal=terminal, width=100), "balanced_accuracy"
    ) as progress:
        for done in range(1, 11):
            progress("extra_trees", done, 10, float("nan") if done < 4 else 0.9 + done / 1000)
    return out.getvalue()


def test_without_a_terminal_there_are_four_plain_lines():
    assert shown(terminal=False).splitlines() == [
        "extra_trees: 3/10 fits",
        "extra_trees: 5/10 fits balanced accuracy 0.9050",
        "extra_trees: 8/10 fits balanced accuracy 0.9080",
        "extra_trees: 10/10 fits balanced accuracy 0.9100",
    ]


@pytest.mark.parametrize("text", ["extra_trees", "10/10", "balanced accuracy 0.9100"])
def test_a_terminal_gets_a_bar(text):
    assert text in shown(terminal=True)
