import dataclasses
import io
import math
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_score

from proto_model.training import VARIANTS, make_pipeline, search_progress, searches
from proto_model.training.search import _balanced_accuracy

SMALL = dataclasses.replace(
    VARIANTS["random_forest"],
    defaults={"n_estimators": 8},
    space={"min_samples_leaf": [1, 4, 16], "max_features": ["sqrt", 0.5]},
)


def search(variant, *arguments, **options):
    """Result of a single search."""
    with searches([variant], *arguments, **options) as results:
        return next(results)


@pytest.fixture(scope="module")
def calls():
    """What the search told its progress."""
    return []


@pytest.fixture(scope="module")
def result(mixed_data, calls):
    return search(SMALL, mixed_data, 4, 0, lambda *call: calls.append(call))


def test_labels_between_whole_numbers_are_classes_too(mixed_data):
    labels = {part: np.where(getattr(mixed_data, part) == "yes", 1.5, 0.25) for part in ("y_train", "y_test")}
    data = dataclasses.replace(mixed_data, **labels)

    pipeline = search(SMALL, data, 1, 0).pipeline

    assert pipeline.classes_.tolist() == [0.25, 1.5]
    assert set(pipeline.predict(data.X_test)) == {0.25, 1.5}


def test_the_first_candidate_is_the_defaults_and_the_best_is_chosen(result):
    assert result.table.shape[0] == 4
    assert result.table.loc[0, "n_estimators"] == 8
    assert np.isnan(result.table.loc[0, "min_samples_leaf"])
    assert result.cv_balanced_accuracy == result.table["cv_balanced_accuracy"].max()
    assert result.table.index[result.table["chosen"]].tolist() == [
        int(result.table["cv_balanced_accuracy"].argmax())
    ]


def test_the_score_is_the_one_of_cross_validating_the_whole_pipeline(result, mixed_data):
    pipeline = make_pipeline(SMALL, mixed_data.schema, 0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    scores = cross_val_score(
        pipeline, mixed_data.X_train, mixed_data.y_train, cv=folds, scoring="balanced_accuracy"
    )

    assert_allclose(result.table.loc[0, [f"fold_{fold}" for fold in range(5)]].astype(float), scores)


def test_the_best_is_fitted_on_all_training_rows(result, mixed_data):
    again = make_pipeline(SMALL, mixed_data.schema, 0, **result.best_params)
    again.fit(mixed_data.X_train, mixed_data.y_train)

    assert_array_equal(
        result.pipeline.predict_proba(mixed_data.X_test), again.predict_proba(mixed_data.X_test)
    )
    assert result.pipeline.named_steps["forest"].n_jobs is None


def test_the_number_of_threads_does_not_change_the_result(result, mixed_data):
    alone = search(SMALL, mixed_data, 4, 0, n_jobs=1)

    columns = result.table.columns.drop("fit_seconds")
    assert alone.table[columns].equals(result.table[columns])
    assert_array_equal(
        alone.pipeline.predict_proba(mixed_data.X_test), result.pipeline.predict_proba(mixed_data.X_test)
    )


def test_progress_is_told_after_each_fit(result, calls):
    assert [call[:3] for call in calls] == [("random_forest", done, 20) for done in range(1, 21)]
    assert math.isnan(calls[0][3])
    assert calls[-1][3] == result.cv_balanced_accuracy


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
    assert len(search(SMALL, mixed_data, 50).table) == 7


def test_no_candidate_is_an_error(mixed_data):
    with pytest.raises(ValueError, match="n_candidates 0 given, 1 or more"):
        search(SMALL, mixed_data, 0)


def test_an_error_in_a_fit_ends_the_search(mixed_data):
    broken = dataclasses.replace(SMALL, defaults={"n_estimators": -1})

    with pytest.raises(ValueError, match="n_estimators"):
        search(broken, mixed_data, 2)


def test_the_score_is_balanced_accuracy_also_where_a_class_is_absent():
    rng = np.random.default_rng(0)
    y, y_pred = rng.integers(0, 3, 50), rng.integers(0, 3, 50)

    assert _balanced_accuracy(y, y_pred) == pytest.approx(balanced_accuracy_score(y, y_pred))
    assert _balanced_accuracy(np.array([0, 0, 2]), np.array([0, 1, 2])) == 0.75
    assert _balanced_accuracy(np.array([0, 0]), np.array([0, 3])) == 0.5


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    with search_progress(Console(file=out, force_terminal=terminal, width=100)) as progress:
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
