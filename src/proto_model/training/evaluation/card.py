"""The model card: what a person has to know before using one version of the model [1]_.

References
----------
.. [1] M. Mitchell et al., "Model Cards for Model Reporting", 2019. https://arxiv.org/abs/1810.03993
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from proto_model.schema import Feature, ModelSchema

__all__ = ["CardFacts", "cell", "model_card"]

_MAX_LISTED = 15
_SMALL_GROUP = 30

_OVERALL = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "precision_macro": "precision (mean of the classes)",
    "recall_macro": "recall (mean of the classes)",
    "f1_macro": "F1 (mean of the classes)",
    "f2_macro": "F2 (mean of the classes)",
    "roc_auc": "area under the ROC curve",
    "average_precision": "average precision",
    "log_loss": "log loss (lower is better)",
    "brier": "Brier score (lower is better)",
}
_PER_CLASS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f2": "F2",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
}


@dataclass(frozen=True)
class CardFacts:
    """What a model card is written from.

    Parameters
    ----------
    schema : ModelSchema
        Features, target and classes.
    variant : str
        Kind of forest.
    dataset, source : str
        Name of the table and where it came from.
    class_rows : mapping
        Class label to its number of (training, test) rows.
    split_digest : str
        Tells whether two versions were tested on the same rows.
    dropped : sequence of (name, reason)
        Columns of the table that the model does not take.
    best_params : mapping
        Hyperparameters that the search chose.
    n_candidates : int
        How many it compared.
    cv_balanced_accuracy, cv_std : float
        Of the chosen ones, over the folds of the training rows.
    metrics : mapping
        As `classification_metrics` gives them, on the test rows.
    suffixes : sequence of str
        What each class is called in the names of `metrics`.
    importances : DataFrame
        As `permutation_importance` gives them.
    groups : DataFrame
        As `metrics_by_group` gives them.
    versions : mapping
        Library name to version.
    """

    schema: ModelSchema
    variant: str
    dataset: str
    source: str
    class_rows: Mapping[object, tuple[int, int]]
    split_digest: str
    dropped: Sequence[tuple[str, str]]
    best_params: Mapping[str, object]
    n_candidates: int
    cv_balanced_accuracy: float
    cv_std: float
    metrics: Mapping[str, float]
    suffixes: Sequence[str]
    importances: pd.DataFrame
    groups: pd.DataFrame
    versions: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: CardFacts) -> str:
    """Markdown text of a model card.

    Parameters
    ----------
    facts : CardFacts
        What is known of the version.

    Returns
    -------
    str
        Intended use, data, features, hyperparameters, results, importances, groups and limits.
    """
    schema = facts.schema
    n_train, n_test = (sum(rows[part] for rows in facts.class_rows.values()) for part in (0, 1))
    sections = [
        f"# {schema.model_name}: {facts.variant}",
        f"Predicts **{cell(schema.target)}** of a row of *{cell(facts.dataset)}*-like data: one of "
        f"{len(schema.classes)} classes, with a probability for each and, on request, the reasons. "
        f"Balanced accuracy on {n_test:,} rows that had no part in training or choice: "
        f"**{facts.metrics['balanced_accuracy']:.4f}**.",
        "## Intended use",
        "Rows that come about in the same way as those it was trained on, with the features listed below. "
        "A person should look at a prediction before it decides over people; the explanation that the model "
        "gives with it is there for that.",
        "## Data",
        f"Table `{cell(facts.source)}`: {n_train:,} rows to train, {n_test:,} to test. The parts are told "
        "apart by a hash of each row, so that a row of the test part stays there when the table grows or is "
        f"reordered (split digest `{facts.split_digest}`).",
        _table(
            ["class", "training rows", "test rows"],
            ((label, f"{rows[0]:,}", f"{rows[1]:,}") for label, rows in facts.class_rows.items()),
        ),
        *_columns(facts),
        "## Hyperparameters",
        f"Best of {facts.n_candidates} candidates by cross-validated balanced accuracy on the training rows: "
        f"{facts.cv_balanced_accuracy:.4f} ± {facts.cv_std:.4f} (standard deviation over the folds).",
        _table(["hyperparameter", "value"], facts.best_params.items()),
        "## Results on the test rows",
        _table(
            ["metric", "value"],
            (
                (text, f"{facts.metrics[name]:.4f}")
                for name, text in _OVERALL.items()
                if name in facts.metrics
            ),
        ),
        _table(["class", *_PER_CLASS.values()], _per_class(facts)),
        "## What matters to it",
        "Probability that the true class loses, on average over the test rows (classes weighing alike), when "
        "one feature is shuffled. Features that say the same thing stand in for each other, so that each of "
        "them looks unimportant.",
        _table(
            ["feature", "loss", "±"],
            (
                (row.feature, f"{row.importance:.4f}", f"{row.std:.4f}")
                for row in facts.importances.head(_MAX_LISTED).itertuples()
            ),
        ),
        *_groups(facts.groups, schema),
        "## Limits",
        *_limits(facts, n_test),
        "## Made with",
        ", ".join(f"{name} {version}" for name, version in facts.versions.items()) or "not recorded",
    ]
    return "\n\n".join(sections) + "\n"


def _columns(facts: CardFacts) -> list[str]:
    features = facts.schema.features
    listed = features[: 4 * _MAX_LISTED]
    parts = [
        "## Features",
        _table(["feature", "type", "missing allowed", "seen in training"], map(_feature_row, listed)),
    ]
    if len(features) > len(listed):
        parts.append(f"… and {len(features) - len(listed)} more, all in `schema.json`.")
    if facts.dropped:
        parts += ["Columns of the table that it does not take:", _table(["column", "why"], facts.dropped)]
    return parts


def _feature_row(feature: Feature) -> tuple[object, ...]:
    if feature.categories is not None:
        shown = ", ".join(feature.categories[:6])
        more = f", … ({len(feature.categories)} in all)" if len(feature.categories) > 6 else ""
        seen = f"{shown}{more}"
    elif feature.minimum is None or feature.maximum is None:
        seen = ""
    else:
        digits = ",.0f" if feature.type == "long" else ".6g"
        seen = f"{feature.minimum:{digits}} to {feature.maximum:{digits}}"
        if feature.median is not None:
            seen += f", median {feature.median:.6g}"
    return feature.name, feature.type, "yes" if feature.nullable else "no", seen


def _per_class(facts: CardFacts) -> Iterable[tuple[object, ...]]:
    for label, suffix in zip(facts.class_rows, facts.suffixes, strict=True):
        values = [facts.metrics.get(f"{name}/{suffix}") for name in _PER_CLASS]
        yield label, *("not defined" if value is None else f"{value:.4f}" for value in values)


def _groups(groups: pd.DataFrame, schema: ModelSchema) -> list[str]:
    if groups.empty:
        return []
    measures = [name for name in groups.columns if name not in ("feature", "group", "rows")]
    rows = (
        (
            row["feature"],
            row["group"],
            f"{row['rows']:,}",
            *("" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in measures),
        )
        for _, row in groups.head(4 * _MAX_LISTED).iterrows()
    )
    positive = f' "Positive" is the class {cell(schema.classes[1])}.' if len(schema.classes) == 2 else ""
    return [
        "## By group",
        "The same model for each value of the columns with few of them. Large differences ask for a look "
        f"before use; figures of groups under {_SMALL_GROUP} rows say little.{positive} All groups are in "
        "`fairness.csv`.",
        _table(["feature", "group", "rows", *(name.replace("_", " ") for name in measures)], rows),
    ]


def _limits(facts: CardFacts, n_test: int) -> list[str]:
    limits = [
        "A forest does not extrapolate: beyond the ranges above it answers as at their edge.",
        "A category that training never saw is treated as missing.",
        "Probabilities are shares of votes; see the calibration plot before they are used as risks.",
    ]
    rare = [str(label) for label, rows in facts.class_rows.items() if rows[1] < _SMALL_GROUP]
    if rare:
        shown = ", ".join(map(cell, rare[:_MAX_LISTED])) + (" …" if len(rare) > _MAX_LISTED else "")
        limits.append(f"Fewer than {_SMALL_GROUP} test rows, so that their figures are rough: {shown}.")
    accuracy = facts.metrics["accuracy"]
    margin = 1.96 * (accuracy * (1 - accuracy) / n_test) ** 0.5
    limits.append(
        f"With {n_test:,} test rows the accuracy is known to about ± {max(margin, 1 / n_test):.3f}."
    )
    return ["\n".join(f"- {limit}" for limit in limits)]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: object) -> str:
    """Text that cannot break out of a Markdown table or be taken for HTML."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 200 else text[:199] + "…"
