import dataclasses

import numpy as np
import pandas as pd
import pytest

from proto_model.schema import Feature, ModelSchema
from proto_model.training.evaluation import (
    CardFacts,
    classification_metrics,
    metric_suffixes,
    metrics_by_group,
    model_card,
)

LABELS = ("<=50K", ">50K")


@pytest.fixture
def facts():
    y, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    return CardFacts(
        schema=ModelSchema(
            model_name="proto_model",
            target="class",
            target_type="string",
            classes=LABELS,
            features=(
                Feature("age", "long", False, minimum=17, maximum=90, median=37),
                Feature("a|b", "string", True, categories=tuple("abcdefgh"), most_frequent="a"),
            ),
        ),
        variant="extra_trees",
        dataset="adult",
        source="adult.csv",
        class_rows={"<=50K": (30, 2), ">50K": (10, 2)},
        split_digest="0123456789abcdef",
        dropped=[("empty", "all values are missing")],
        best_params={"max_features": 0.5, "n_estimators": 200},
        n_candidates=12,
        cv_balanced_accuracy=0.81234,
        cv_std=0.01,
        metrics=classification_metrics(y, np.eye(2)[predicted] * 0.8 + 0.1, LABELS),
        suffixes=metric_suffixes(LABELS),
        importances=pd.DataFrame({"feature": ["age", "a|b"], "importance": [0.2, 0.1], "std": [0.01, 0.01]}),
        groups=metrics_by_group(pd.DataFrame({"sex": ["f", "m", "f", "m"]}), y, predicted, 2, ["sex"]),
        versions={"scikit-learn": "1.9"},
    )


def test_the_card_says_what_a_reader_asks_for(facts):
    card = model_card(facts)

    for text in (
        "# proto_model: extra_trees",
        "**0.7500**",
        "## Intended use",
        "`0123456789abcdef`",
        "| empty | all values are missing |",
        "| max_features | 0.5 |",
        "0.8123 ± 0.0100",
        "| age | long | no | 17 to 90, median 37 |",
        "a, b, c, d, e, f, … (8 in all)",
        "| age | 0.2000 | 0.0100 |",
        "| sex | f | 2 |",
        '"Positive" is the class >50K.',
        "## Limits",
        "scikit-learn 1.9",
    ):
        assert text in card


def test_names_cannot_break_the_tables(facts):
    card = model_card(facts)

    assert r"| a\|b | string |" in card
    assert "<=50K" not in card.replace("&lt;=50K", "")
    widths = {}
    for block in card.split("\n\n"):
        if block.startswith("|"):
            widths[block] = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
    assert all(len(width) == 1 for width in widths.values())


def test_nothing_to_say_leaves_the_section_out(facts):
    card = model_card(dataclasses.replace(facts, dropped=(), groups=facts.groups.head(0)))

    assert "does not take" not in card
    assert "By group" not in card
