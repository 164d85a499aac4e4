"""An explanation at a glance: where the row stands, where its rule holds, and what would flip it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from proto_model.explanation.interface import Explainer, ExplainOptions
from proto_model.explanation.rule import shown
from proto_model.schema import Feature, Label, ModelSchema
from proto_model.training.evaluation.style import ACCENT, GRID, INK, MUTED, SECOND, new_figure, shortened

__all__ = ["example_figures", "explanation_figure"]

MAX_TRACKS = 12
MAX_SHOWN = 3
MAX_EXAMPLES = 10
MAX_LINES = 8
BAND = 0.32


def explanation_figure(
    explanation: Mapping[str, Any], schema: ModelSchema, row: Mapping[str, Any], title: str = ""
) -> Figure:
    """Figure of one explanation.

    One track per feature of the rule and of the counterfactuals, the most important first, from the least to
    the greatest value in training: the band is where the rule holds, the dot the row's value, and the arrows
    lead to the values of the counterfactuals, all arrows of one number together. The sentences below say the
    same in words.

    Parameters
    ----------
    explanation : mapping
        As in `schemas/explanation.schema.json`.
    schema : ModelSchema
        Gives the training ranges and the categories.
    row : mapping
        The row that was explained: feature to value; None or NaN when it is missing.
    title : str
        Stands before the prediction, such as `Row 17`.

    Returns
    -------
    Figure
        Not known to pyplot; save it with `savefig`, or log it to MLflow.
    """
    premises = {premise["feature"]: premise for premise in explanation["rule"]["premises"]}
    counterfactuals = explanation["counterfactuals"][:MAX_SHOWN]
    names = _tracks(explanation, premises, counterfactuals)
    flips = [f"{_sign(i)} {c['text']}" for i, c in enumerate(counterfactuals)]
    sentences = [explanation["rule"]["text"], *flips, *explanation["notes"]]
    lines = [
        line.replace("$", r"\$")
        for text in sentences
        for line in textwrap.wrap(text, 112, subsequent_indent="    ", max_lines=MAX_LINES, placeholder=" …")
    ]
    features = {feature.name: feature for feature in schema.features}
    height = 1.3 + 0.52 * max(len(names), 1) + 0.2 * len(lines)
    figure = new_figure(9.5, height)
    axes = figure.add_subplot()
    for k, name in enumerate(names):
        changes = [(i, change) for i, c in enumerate(counterfactuals) for change in c["changes"]]
        mine = [(i, change["to"]) for i, change in changes if change["feature"] == name]
        _track(axes, -k, features[name], premises.get(name), row.get(name), mine)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(0.6 - max(len(names), 1), 0.75)
    axes.set_yticks([-k for k in range(len(names))], shortened(names, 36), fontsize=10, color=INK)
    axes.tick_params(length=0)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    rule = explanation["rule"]
    head = f"{title}: " if title else ""
    head += f"{_text(explanation['prediction'])} ({explanation['probability']:.0%})"
    measured = ", ".join(
        f"{what} {rule[key]:.0%}"
        for key, what in (("precision", "right"), ("coverage", "covers"))
        if rule[key] is not None
    )
    axes.set_title(head, loc="left", fontsize=13, fontweight="bold", color=INK, pad=8)
    axes.set_title(
        f"band: the rule ({measured}); arrows: what flips it", loc="right", fontsize=9, color=MUTED, pad=8
    )
    axes.set_xlabel("\n".join(lines), loc="left", fontsize=8.5, color=INK, labelpad=6, linespacing=1.5)
    axes.xaxis.label.set_horizontalalignment("left")
    return figure


def example_figures(
    explainer: Explainer,
    schema: ModelSchema,
    X: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    options: ExplainOptions | None = None,
) -> dict[Label, Figure]:
    """One figure per class that the model predicts: of the row whose probability is the middle one.

    Parameters
    ----------
    explainer : Explainer
        Any engine.
    schema : ModelSchema
        Of the model; at most its first `MAX_EXAMPLES` classes are shown.
    X : ndarray of shape (n_rows, n_features)
        Coded rows to choose from.
    probabilities : ndarray of shape (n_rows, n_classes)
        The model's answer to them.
    options : ExplainOptions or None
        Defaults when None.
    """
    from proto_model.values import decode

    predicted = probabilities.argmax(axis=1)
    figures = {}
    for k, label in enumerate(schema.classes[:MAX_EXAMPLES]):
        rows = np.flatnonzero(predicted == k)
        if not len(rows):
            continue
        i = int(rows[np.argsort(probabilities[rows, k], kind="stable")[len(rows) // 2]])
        (explanation,) = explainer.explain(X[i : i + 1], options or ExplainOptions())
        row = {str(name): value for name, value in decode(X[i : i + 1], schema).iloc[0].items()}
        figures[label] = explanation_figure(explanation, schema, row, f"Row {i}")
    return figures


def _tracks(
    explanation: Mapping[str, Any], premises: Mapping[str, Any], counterfactuals: list[dict[str, Any]]
) -> list[str]:
    """Features to draw: those of the rule and of the counterfactuals, the most important first."""
    changed = [change["feature"] for c in counterfactuals for change in c["changes"]]
    wanted = list(dict.fromkeys([*premises, *changed]))
    importance = explanation["feature_importances"]
    return sorted(wanted, key=lambda name: -importance.get(name, 0.0))[:MAX_TRACKS]


def _track(
    axes: Axes,
    y: float,
    feature: Feature,
    premise: Mapping[str, Any] | None,
    value: Any,
    steps: list[tuple[int, Any]],
) -> None:
    """One feature: its range, the rule's part of it, the row's value, and the values that would flip it."""
    if feature.type in ("double", "long"):
        _interval(axes, y, feature, premise)
    else:
        _choices(axes, y, feature, premise)
    missing = value is None or value != value
    start = 0.5 if missing else _place(feature, value)
    if feature.type in ("double", "long") and feature.minimum is not None and feature.maximum is not None:
        for at, bound, align in ((0.0, feature.minimum, "left"), (1.0, feature.maximum, "right")):
            if abs(start - at) > 0.1:
                axes.text(at, y - BAND, shown(float(bound)), fontsize=7, color=MUTED, ha=align, va="top")
    for i, to in steps:
        end = _place(feature, to)
        lift = 0.1 * (0.5 * (MAX_SHOWN - 1) - i)
        axes.annotate(
            "", xy=(end, y + lift), xytext=(start, y + lift),
            arrowprops={
                "arrowstyle": "-|>", "color": SECOND, "lw": 1.0 if i else 1.8, "shrinkA": 0, "shrinkB": 0
            },
        )  # fmt: skip
    if steps:
        end = _place(feature, steps[0][1])
        label = ", ".join(f"{_sign(i)} {_text(to)}" for i, to in steps)
        align = "left" if end < 0.15 else "right" if end > 0.85 else "center"
        axes.text(end, y + 0.17, label, fontsize=8, color=SECOND, ha=align, va="bottom")
    face = "white" if missing else INK
    axes.plot([start], [y], "o", markersize=8, color=INK, markerfacecolor=face, zorder=5)
    text = "missing" if missing else _text(_typed(feature, value))
    axes.text(start, y - BAND, text, fontsize=8, color=INK, ha="center", va="top", fontweight="bold")


def _interval(axes: Axes, y: float, feature: Feature, premise: Mapping[str, Any] | None) -> None:
    """Training range of a number, and the rule's interval on it."""
    _bar(axes, 0.0, 1.0, y, GRID)
    if premise is not None:
        low = _place(feature, premise["above"]) if "above" in premise else 0.0
        high = _place(feature, premise["at_most"]) if "at_most" in premise else 1.0
        if "in" not in premise:
            _bar(axes, low, max(high, low + 0.004), y, ACCENT, alpha=0.55)


def _choices(axes: Axes, y: float, feature: Feature, premise: Mapping[str, Any] | None) -> None:
    """Categories side by side, those that the rule allows filled."""
    names = _names(feature)
    allowed = set(names) if premise is None else set(premise.get("in", []))
    for k, name in enumerate(names):
        color = ACCENT if premise is not None and name in allowed else GRID
        _bar(
            axes,
            k / len(names) + 0.004,
            (k + 1) / len(names) - 0.004,
            y,
            color,
            alpha=0.55 if color == ACCENT else 1,
        )


def _bar(axes: Axes, low: float, high: float, y: float, color: str, alpha: float = 1.0) -> None:
    """Flat bar with round ends."""
    axes.add_patch(
        FancyBboxPatch(
            (low, y - 0.11), max(high - low, 0.001), 0.22,
            boxstyle="round,pad=0,rounding_size=0.004", linewidth=0, facecolor=color, alpha=alpha,
        )
    )  # fmt: skip


def _sign(i: int) -> str:
    """Number of a counterfactual, as its arrows and its sentence bear it."""
    return f"({i + 1})"


def _text(value: Any) -> str:
    """Value that fits beside a mark."""
    return shortened([shown(value)], 36)[0]


def _names(feature: Feature) -> list[Any]:
    """Values of a feature that is no number."""
    return list(feature.categories or (False, True))


def _typed(feature: Feature, value: Any) -> Any:
    """A canonical value in the feature's own type: booleans come as 0 and 1, whole numbers as floats."""
    if feature.type == "boolean":
        return bool(value)
    return float(value) if feature.type in ("double", "long") else value


def _place(feature: Feature, value: Any) -> float:
    """Place of a value on its track, from 0 to 1."""
    if feature.type not in ("double", "long"):
        names = _names(feature)
        value = _typed(feature, value)
        return (names.index(value) + 0.5) / len(names) if value in names else 0.5
    if feature.minimum is None or feature.maximum is None or feature.maximum <= feature.minimum:
        return 0.5
    return min(max((float(value) - feature.minimum) / (feature.maximum - feature.minimum), 0.0), 1.0)
