import dataclasses

import numpy as np
import pandas as pd
import pytest

from proto_model.schema import Feature, ModelSchema
from proto_model.table import DroppedColumn, TrainingData
from proto_model.table.caution import Caution
from proto_model.table.identity import SplitColumns
from proto_model.training import SearchResult
from proto_model.training.background import StoredBackground
from proto_model.training.evaluation import metrics_by_group, model_card
from proto_model.training.evaluation.card import Remarks
from proto_model.training.evaluation.intervals import metric_bounds
from proto_model.training.metrics import classification_metrics

LABELS = ("<=50K", ">50K")


@pytest.fixture
def facts():
    """What a card is written from."""
    y, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    schema = ModelSchema(
        model_name="proto_model",
        target="class",
        target_type="string",
        classes=LABELS,
        features=(
            Feature("age", "long", False, minimum=17, maximum=90, median=37),
            Feature("a|b", "string", True, categories=tuple("abcdefgh"), most_frequent="a"),
        ),
    )
    data = TrainingData(
        name="adult",
        source="adult.csv",
        schema=schema,
        X_train=pd.DataFrame(),
        y_train=np.array(LABELS, dtype=object).repeat([30, 10]),
        X_test=pd.DataFrame(),
        y_test=np.array(LABELS, dtype=object)[y],
        protected_test=pd.DataFrame(),
        train_hashes=np.array([], dtype=np.uint64),
        test_hashes=np.array([], dtype=np.uint64),
        split_digest="0123456789abcdef",
        dropped=(DroppedColumn("empty", "all values are missing"),),
        n_rows=44,
        n_unlabelled=0,
    )
    result = SearchResult(
        variant="extra_trees",
        pipeline=None,
        best_params={"max_features": 0.5, "n_estimators": 200},
        cv_balanced_accuracy=0.81234,
        cv_std=0.01,
        table=pd.DataFrame({"candidate": range(12)}),
        fit_seconds=1.0,
        out_of_fold=np.full((40, 2), 0.5),
    )
    return {
        "result": result,
        "data": data,
        "background": StoredBackground("synthetic", np.zeros((3, 2))),
        "metrics": classification_metrics(y, np.eye(2)[predicted] * 0.8 + 0.1, LABELS),
        "importances": pd.DataFrame(
            {"feature": ["age", "a|b"], "importance": [0.2, 0.1], "std": [0.01, 0.01]}
        ),
        "groups": metrics_by_group(pd.DataFrame({"sex": ["f", "m", "f", "m"]}), y, predicted, 2),
    }


def test_the_card_says_what_a_reader_asks_for(facts):
    card = model_card(**facts)

    for text in (
        "# proto_model: extra_trees",
        "**0.7500**",
        "## Intended use",
        "40 training rows, 4 test rows",
        "| &lt;=50K | 30 | 2 |",
        "`0123456789abcdef`",
        "| empty | all values are missing |",
        "Best of 12 candidates",
        "| max_features | 0.5 |",
        "0.8123 ± 0.0100",
        "| age | long | no | 17 to 90, median 37 |",
        "a, b, c, d, e, f, … (8 in total)",
        "| log loss (lower is better) |",
        "| age | 0.2000 | 0.0100 |",
        "| sex | f | 2 |",
        '"Positive" is the class >50K.',
        "## Limits",
        "scikit-learn 1.",
    ):
        assert text in card


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "synthetic",
            "Background `synthetic`: no training row. Explanations compare a row with 3 rows drawn",
        ),
        ("rows", "Background `rows`: **the version carries 3 training rows**"),
    ],
)
def test_the_card_says_which_background_is_used(facts, kind, text):
    card = model_card(**facts | {"background": StoredBackground(kind, np.zeros((3, 2)))})

    assert text in card
    assert "the schema names all categories, rare ones included" in card


def test_importance_is_said_to_be_the_drop_of_the_true_class_probability(facts):
    assert "How much the probability of the true class drops when" in model_card(**facts)


def test_names_cannot_break_the_tables(facts):
    card = model_card(**facts)

    assert r"| a\|b | string |" in card
    assert "<=50K" not in card.replace("&lt;=50K", "")
    widths = {}
    for block in card.split("\n\n"):
        if block.startswith("|"):
            widths[block] = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
    assert all(len(width) == 1 for width in widths.values())


def test_nothing_to_say_leaves_the_section_out(facts):
    data = dataclasses.replace(facts["data"], dropped=())
    card = model_card(**facts | {"data": data, "groups": facts["groups"].head(0)})

    assert "not used:" not in card
    assert "By group" not in card
    assert "Results by group" not in card


def test_the_accuracy_of_194_right_rows_of_194_is_not_known_to_half_a_point(facts):
    y = np.array([">50K"] * 194, dtype=object)
    data = dataclasses.replace(facts["data"], y_test=y)
    right = np.ones(194, dtype=np.int64)
    metrics = {"accuracy": 1.0, "balanced_accuracy": 1.0}

    bounds = metric_bounds(right, np.eye(2)[right], right, LABELS)
    card = model_card(**facts | {"data": data, "metrics": metrics | bounds})

    assert "the accuracy is between 0.981 and 1.000 (95% interval)" in card


def test_cautions_stand_near_the_top_beside_the_columns_that_are_not_used(facts):
    cautions = (Caution("leak", ("a|b",), "`a|b` tells >50K from <=50K. Drop it: `-P 'drop=a|b'`."),)

    card = model_card(**facts | {"remarks": Remarks(cautions)})

    assert "- **leak:** `a|b` tells >50K from &lt;=50K." in card
    assert card.index("## Cautions") < card.index("| empty |") < card.index("## Intended use")
    assert "None found" in model_card(**facts)


@pytest.mark.parametrize(
    ("split_by", "said"),
    [
        (SplitColumns(), "A hash of each row decides its part"),
        (SplitColumns(key="id"), "A hash of the value of `id` in each row decides its part"),
        (SplitColumns(key="id", group="customer"), "A hash of the value of `customer` in each row decides"),
        (SplitColumns(time="day"), "The newest rows by `day` are the test rows (split digest"),
    ],
)
def test_the_card_says_how_the_rows_were_split(facts, split_by, said):
    data = dataclasses.replace(facts["data"], split_by=split_by)

    assert said in model_card(**(facts | {"data": data}))
