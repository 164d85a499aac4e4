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
from proto_model.schema import DATE_TYPES, Feature, ModelSchema, date_text
from proto_model.table import TrainingData, encode
from proto_model.table.caution import Caution, caution_section
from proto_model.training.background import LEAST, StoredBackground
from proto_model.training.cautions import Judged, model_cautions
from proto_model.training.decision import FoundDecision
from proto_model.training.evaluation import plots
from proto_model.training.evaluation.decisions import DecidedRows
from proto_model.training.evaluation.dictionary_section import dictionary_section
from proto_model.training.evaluation.group_bounds import CONFIDENCE
from proto_model.training.evaluation.group_metrics import metrics_by_group
from proto_model.training.evaluation.groupings import MAX_GROUPS, groupings
from proto_model.training.evaluation.intervals import (
    how_sure,
    metric_bounds,
)
from proto_model.training.evaluation.markdown import cell, markdown_table
from proto_model.training.evaluation.metric_texts import is_bound, with_interval
from proto_model.training.metrics import (
    CLASS_METRICS,
    METRICS,
    classification_metrics,
    metric_suffixes,
    permutation_importance,
)
from proto_model.training.selection.plot import search_plot
from proto_model.training.selection.result import SearchResult
from proto_model.training.selection.text import selection_sentences, selection_table

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
    groups = metrics_by_group(groupings(data, importances), y, predicted, len(labels))
    metrics |= metric_bounds(y, probabilities, predicted, labels)
    figures = {
        "confusion_matrix.png": plots.confusion_matrix_plot(y, predicted, labels),
        "roc_curve.png": plots.roc_plot(y, probabilities, labels),
        "precision_recall_curve.png": plots.precision_recall_plot(y, probabilities, labels),
        "calibration_curve.png": plots.calibration_plot(y, probabilities, labels),
        "permutation_importance.png": plots.importance_plot(importances),
    } | ({} if result.is_given else {"search.png": search_plot(result)})
    found = (*cautions, *model_cautions(Judged(result, data, y, probabilities, importances), cautions))
    remarks = Remarks(found, decided.section(labels))
    card = model_card(result, data, background, metrics, importances, groups, remarks)
    return Verdict(metrics, importances, groups, figures, card, found)


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

    Metrics, importances and groups are as the functions of `evaluation` return them.
    """
    remarks = remarks or Remarks()
    schema = data.schema
    sections = [
        f"# {schema.model_name}: {result.variant}",
        f"Predicts **{cell(schema.target)}** for rows like those of *{cell(data.name)}*: one of "
        f"{len(schema.classes)} classes, with a probability for each and, on request, an explanation. "
        f"Balanced accuracy on {len(data.y_test):,} test rows, which were not used for training or "
        f"selection: **{metrics['balanced_accuracy']:.4f}**.",
        caution_section(remarks.cautions),
        *_dropped(data),
        "## Intended use",
        "Use it on rows from the same source as the training data, with the features listed below. "
        "If a prediction affects people, have a person review it, together with its explanation.",
        *_data(data),
        *_features(data),
        *dictionary_section(data),
        "## What a version holds of the data",
        _held(background),
        "## Hyperparameters",
        *_selection(result),
        markdown_table(["hyperparameter", "value"], result.best_params.items()),
        *_results(schema, metrics),
        *remarks.decisions,
        *_importance(importances),
        *_groups(groups, schema),
        "## Limits",
        _limits(data, metrics),
        "## Made with",
        ", ".join(f"{name} {number}" for name, number in library_versions().items()),
    ]
    return "\n\n".join(sections) + "\n"


def _selection(result: SearchResult) -> list[str]:
    if result.is_given:
        return ["The pipeline was fitted elsewhere and registered as it is; nothing is known of a search."]
    return [selection_sentences(result), markdown_table(*selection_table(result))]


def _data(data: TrainingData) -> list[str]:
    by = data.split_by
    named = by.group or by.key
    if data.is_given:
        how = "Whoever trained the model has split them"
    elif by.time:
        how = f"The newest rows by `{cell(by.time)}` are the test rows"
    else:
        what = f"the value of `{cell(named)}` in each row" if named else "each row"
        how = f"A hash of {what} decides its part, so a test row stays a test row when the table grows"
    return [
        "## Data",
        f"Table `{cell(data.source)}`: {len(data.y_train):,} training rows, {len(data.y_test):,} test rows. "
        f"{how} (split digest `{data.split_digest}`).",
        markdown_table(["class", "training rows", "test rows"], _class_rows(data)),
    ]


def _results(schema: ModelSchema, metrics: Mapping[str, float]) -> list[str]:
    return [
        "## Results on the test rows",
        markdown_table(
            ["metric", f"value ({CONFIDENCE:.0%} interval)"],
            ((m.described, with_interval(metrics, m.name)) for m in METRICS if m.name in metrics),
        ),
        markdown_table(
            ["class", *(metric.described for metric in CLASS_METRICS)], _class_metrics(schema, metrics)
        ),
    ]


def _importance(importances: pd.DataFrame) -> list[str]:
    shown = importances.head(_MAX_LISTED).itertuples()
    return [
        "## Feature importance",
        "How much the probability of the true class drops when the values of one feature are shuffled: the "
        "mean over the test rows, with equal weight for each class. Features that carry the same information "
        "can replace each other, so each of them looks unimportant.",
        markdown_table(
            ["feature", "drop", "±"],
            ((row.feature, f"{row.importance:.4f}", f"{row.std:.4f}") for row in shown),
        ),
    ]


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
    elif feature.terms is not None:
        seen = f"words that count: {', '.join(feature.terms[:6])}{', …' if len(feature.terms) > 6 else ''}"
    elif feature.type in DATE_TYPES:
        dates = (feature.minimum, feature.maximum, feature.median)
        low, high, middle = (date_text(code or 0.0, feature.type) for code in dates)
        seen = f"{low} to {high}, median {middle}"
    elif feature.minimum is None or feature.maximum is None:
        seen = ""
    elif feature.type == "boolean":
        seen = "true or false"
    else:
        digits = ",.0f" if feature.type == "long" else ".6g"
        seen = f"{feature.minimum:{digits}} to {feature.maximum:{digits}}"
        if feature.median is not None:
            seen += f", median {feature.median:.6g}"
    return feature.name, feature.type, "yes" if feature.nullable else "no", seen


def _class_metrics(schema: ModelSchema, metrics: Mapping[str, float]) -> Iterable[tuple[object, ...]]:
    names = class_names(schema)
    for name, suffix in zip(names, metric_suffixes(names), strict=True):
        keys = [f"{metric.name}/{suffix}" for metric in CLASS_METRICS]
        yield name, *(with_interval(metrics, key, 3) if key in metrics else "not defined" for key in keys)


def _groups(groups: pd.DataFrame, schema: ModelSchema) -> list[str]:
    if groups.empty:
        return []
    figures = [name for name in groups.columns if name not in ("feature", "group", "rows")]
    measures = [name for name in figures if not is_bound(name)]
    rows = (
        (
            row["feature"],
            row["group"],
            f"{row['rows']:,}",
            *("" if pd.isna(row[name]) else with_interval(row, name, 3) for name in measures),
        )
        for row in groups.head(4 * _MAX_LISTED).to_dict("records")
    )
    positive = f' "Positive" is the class {cell(schema.classes[1])}.' if len(schema.classes) == 2 else ""
    return [
        "## Results by group",
        "The same metrics for groups of the test rows: protected columns first, then those named like "
        "sensitive ones, then the most important features. Numbers are cut at round numbers near the "
        f"quintiles of the training rows; of many categories, the {MAX_GROUPS - 1} largest are shown. "
        "Between parentheses are 95 % intervals. Look into differences that they do not explain before using "
        f"the model.{positive} `fairness.csv` has all groups.",
        markdown_table(["feature", "group", "rows", *(name.replace("_", " ") for name in measures)], rows),
    ]


def _limits(data: TrainingData, metrics: Mapping[str, float]) -> str:
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
    limits.append(how_sure(metrics, n_test))
    return "\n".join(f"- {limit}" for limit in limits)
