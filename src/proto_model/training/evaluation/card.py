"""What the test rows say about a searched variant, and its model card: what to know before using it.

M. Mitchell et al., "Model Cards for Model Reporting", 2019. https://arxiv.org/abs/1810.03993
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from proto_model.forest.pipeline import compiled_forest
from proto_model.schema import Feature, ModelSchema
from proto_model.table import TrainingData, encode
from proto_model.table.cautions import Caution
from proto_model.training.background import LEAST, StoredBackground
from proto_model.training.cautions import Judged, caution_section, model_cautions
from proto_model.training.decision import FoundDecision
from proto_model.training.evaluation import plots
from proto_model.training.evaluation.decisions import DecidedRows
from proto_model.training.evaluation.markdown import cell, markdown_table
from proto_model.training.evaluation.metrics import (
    CLASS_METRICS,
    METRICS,
    classification_metrics,
    metric_suffixes,
    metrics_by_group,
    permutation_importance,
)
from proto_model.training.search import SearchResult

_LIBRARIES = ("mlflow", "scikit-learn", "numpy", "pandas", "pyarrow")
_MAX_LISTED = 15
_SMALL_GROUP = 30


@dataclass(frozen=True)
class Remarks:
    """What a card says besides: cautions, and paragraphs about probabilities and decisions."""

    cautions: Sequence[Caution] = ()
    decisions: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """What the test rows say about a variant; plots are by file name, the card is Markdown.

    `cautions` are those of the table and of this variant.
    """

    metrics: Mapping[str, float]
    importances: pd.DataFrame
    groups: pd.DataFrame
    plots: Mapping[str, Figure]
    card: str
    cautions: tuple[Caution, ...]


def judge(
    result: SearchResult,
    data: TrainingData,
    random_state: int,
    background: StoredBackground,
    cautions: Sequence[Caution],
    decision: FoundDecision,
) -> Verdict:
    """Verdict of the test rows on the pipeline that a search found in the same data, and on its decision.

    `cautions` are those of the table; the variant's own are added to them.
    """
    schema, pipeline = data.schema, result.pipeline
    labels = class_names(schema)
    y = np.searchsorted(pipeline.classes_, data.y_test)
    decided = DecidedRows.of(decision, y, pipeline.predict_proba(data.X_test))
    probabilities, predicted = decided.probabilities, decided.predicted
    forest = compiled_forest(pipeline, schema)
    metrics = classification_metrics(y, probabilities, labels, predicted) | decided.metrics()
    importances = permutation_importance(
        lambda matrix: decision.decision.calibrated(forest.predict_proba(matrix)),
        encode(data.X_test, schema),
        y,
        schema.feature_names,
        random_state=random_state,
    )
    groups = metrics_by_group(_groupings(data), y, predicted, len(labels))
    scores, stds = (result.table[name].to_numpy() for name in ("cv_balanced_accuracy", "cv_std"))
    figures = {
        "confusion_matrix.png": plots.confusion_matrix_plot(y, predicted, labels),
        "roc_curve.png": plots.roc_plot(y, probabilities, labels),
        "precision_recall_curve.png": plots.precision_recall_plot(y, probabilities, labels),
        "calibration_curve.png": plots.calibration_plot(y, probabilities, labels),
        "permutation_importance.png": plots.importance_plot(importances),
        "search.png": plots.search_plot(scores, stds),
    }
    found = (*cautions, *model_cautions(Judged(result, data, y, probabilities, importances), cautions))
    remarks = Remarks(found, decided.section(labels))
    card = model_card(result, data, background, metrics, importances, groups, remarks)
    return Verdict(metrics, importances, groups, figures, card, found)


def _groupings(data: TrainingData) -> pd.DataFrame:
    """Columns of the test rows to group by: protected ones first; booleans as JSON spells them."""
    spelt = {0.0: "false", 1.0: "true"}
    columns = {
        feature.name: data.X_test[feature.name].map(spelt)
        if feature.type == "boolean"
        else data.X_test[feature.name]
        for feature in data.schema.features
        if feature.type in ("boolean", "string")
    }
    return data.protected_test.map(_spelt).assign(**columns)


def _spelt(value: object) -> object:
    """Cell of a protected column as a report shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value == value else value


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a model depends on."""
    return {"Python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def class_names(schema: ModelSchema) -> list[str]:
    """Class labels as text, as the answer's probability columns spell them."""
    return [name.removeprefix("probability_") for name in schema.probability_columns]


def model_card(
    result: SearchResult,
    data: TrainingData,
    background: StoredBackground,
    metrics: Mapping[str, float],
    importances: pd.DataFrame,
    groups: pd.DataFrame,
    remarks: Remarks | None = None,
) -> str:
    """Markdown text of a model card, from what the search found and what the test rows say.

    Metrics, importances and groups are as the functions of `evaluation.metrics` return them.
    """
    remarks = remarks or Remarks()
    schema = data.schema
    n_train, n_test = len(data.y_train), len(data.y_test)
    sections = [
        f"# {schema.model_name}: {result.variant}",
        f"Predicts **{cell(schema.target)}** for rows like those of *{cell(data.name)}*: one of "
        f"{len(schema.classes)} classes, with a probability for each and, on request, an explanation. "
        f"Balanced accuracy on {n_test:,} test rows, which were not used for training or selection: "
        f"**{metrics['balanced_accuracy']:.4f}**.",
        caution_section(remarks.cautions),
        *_dropped(data),
        "## Intended use",
        "Use it on rows from the same source as the training data, with the features listed below. "
        "If a prediction affects people, have a person review it, together with its explanation.",
        "## Data",
        f"Table `{cell(data.source)}`: {n_train:,} training rows, {n_test:,} test rows. A hash of each row "
        "decides its part, so a test row stays a test row when the table grows or is reordered "
        f"(split digest `{data.split_digest}`).",
        markdown_table(["class", "training rows", "test rows"], _class_rows(data)),
        *_features(data),
        "## What a version holds of the data",
        _held(background),
        "## Hyperparameters",
        f"Best of {len(result.table)} candidates by balanced accuracy in cross-validation on the training "
        f"rows: {result.cv_balanced_accuracy:.4f} ± {result.cv_std:.4f} (standard deviation over the folds).",
        markdown_table(["hyperparameter", "value"], result.best_params.items()),
        "## Results on the test rows",
        markdown_table(
            ["metric", "value"],
            ((m.described, f"{metrics[m.name]:.4f}") for m in METRICS if m.name in metrics),
        ),
        markdown_table(
            ["class", *(metric.described for metric in CLASS_METRICS)], _class_metrics(schema, metrics)
        ),
        *remarks.decisions,
        "## Feature importance",
        "How much the probability of the true class drops when the values of one feature are shuffled: the "
        "mean over the test rows, with equal weight for each class. Features that carry the same information "
        "can replace each other, so each of them looks unimportant.",
        markdown_table(
            ["feature", "drop", "±"],
            (
                (row.feature, f"{row.importance:.4f}", f"{row.std:.4f}")
                for row in importances.head(_MAX_LISTED).itertuples()
            ),
        ),
        *_groups(groups, schema),
        "## Limits",
        _limits(data, metrics["accuracy"]),
        "## Made with",
        ", ".join(f"{name} {number}" for name, number in library_versions().items()),
    ]
    return "\n\n".join(sections) + "\n"


def _class_rows(data: TrainingData) -> list[tuple[str, str, str]]:
    """Name of each class and its number of training and test rows."""
    return [
        (name, f"{(data.y_train == label).sum():,}", f"{(data.y_test == label).sum():,}")
        for name, label in zip(class_names(data.schema), data.schema.classes, strict=True)
    ]


def _features(data: TrainingData) -> list[str]:
    features = data.schema.features
    listed = features[: 4 * _MAX_LISTED]
    parts = [
        "## Features",
        markdown_table(["feature", "type", "missing allowed", "training data"], map(_feature_row, listed)),
    ]
    if len(features) > len(listed):
        parts.append(f"… and {len(features) - len(listed)} more; `schema.json` lists them all.")
    return parts


def _dropped(data: TrainingData) -> list[str]:
    if not data.dropped:
        return []
    return [
        "Columns of the table that are not used (`keep` uses one all the same, where it can be):",
        markdown_table(["column", "reason"], ((column.name, column.reason) for column in data.dropped)),
    ]


def _held(background: StoredBackground) -> str:
    n_rows = f"{len(background.rows):,}"
    if background.kind == "rows":
        held = (
            f"Background `rows`: **the version carries {n_rows} training rows**. Explanations compare a "
            "row with them, and the input example is taken from them. Protect the version like the table."
        )
    else:
        held = (
            f"Background `synthetic`: no training row. Explanations compare a row with {n_rows} rows drawn "
            f"from bins and groups of at least {LEAST} training rows; the input example is taken from them."
        )
    return (
        f"{held} In every version, the schema names all categories, rare ones included, and rounded ranges; "
        "the forest holds thresholds and class counts learned from the training rows."
    )


def _feature_row(feature: Feature) -> tuple[object, ...]:
    if feature.categories is not None:
        shown = ", ".join(feature.categories[:6])
        more = f", … ({len(feature.categories)} in total)" if len(feature.categories) > 6 else ""
        seen = f"{shown}{more}"
    elif feature.minimum is None or feature.maximum is None:
        seen = ""
    else:
        digits = ",.0f" if feature.type == "long" else ".6g"
        seen = f"{feature.minimum:{digits}} to {feature.maximum:{digits}}"
        if feature.median is not None:
            seen += f", median {feature.median:.6g}"
    return feature.name, feature.type, "yes" if feature.nullable else "no", seen


def _class_metrics(schema: ModelSchema, metrics: Mapping[str, float]) -> Iterable[tuple[object, ...]]:
    names = class_names(schema)
    for name, suffix in zip(names, metric_suffixes(names), strict=True):
        values = [metrics.get(f"{metric.name}/{suffix}") for metric in CLASS_METRICS]
        yield name, *("not defined" if value is None else f"{value:.4f}" for value in values)


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
        "## Results by group",
        "The same metrics for each value of the columns with few values. Look into large differences before "
        f"using the model. Results of groups with fewer than {_SMALL_GROUP} rows are unreliable.{positive} "
        "`fairness.csv` has all groups.",
        markdown_table(["feature", "group", "rows", *(name.replace("_", " ") for name in measures)], rows),
    ]


def _limits(data: TrainingData, accuracy: float) -> str:
    n_test = len(data.y_test)
    limits = [
        "A forest does not extrapolate: outside the ranges above, it predicts as at the nearest boundary.",
        "A category that does not occur in the training rows is treated as missing.",
        "Check the calibration plot before using probabilities as risks.",
    ]
    rare = [
        name
        for name, label in zip(class_names(data.schema), data.schema.classes, strict=True)
        if (data.y_test == label).sum() < _SMALL_GROUP
    ]
    if rare:
        shown = ", ".join(map(cell, rare[:_MAX_LISTED])) + (" …" if len(rare) > _MAX_LISTED else "")
        limits.append(
            f"These classes have fewer than {_SMALL_GROUP} test rows, so their results are rough: {shown}."
        )
    # Half of a 95 % interval (normal approximation), at least one row: it is 0 for an accuracy of 0 or 1.
    margin = max(1.96 * (accuracy * (1 - accuracy) / n_test) ** 0.5, 1 / n_test)
    limits.append(f"With {n_test:,} test rows, the accuracy is known to about ± {margin:.3f}.")
    return "\n".join(f"- {limit}" for limit in limits)
