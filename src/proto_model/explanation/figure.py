"""An explanation at a glance: where the row stands, where its rule holds, and what would flip it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from proto_model.dates import seconds_in, seconds_of
from proto_model.explanation.interface import Explainer, Floats
from proto_model.explanation.wording import Wording, shown
from proto_model.parameters import Parameters
from proto_model.plotting import ACCENT, GRID, INK, MUTED, SECOND, new_figure, shortened
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, Label, ModelSchema, date_text
from proto_model.values import decode

MAX_TRACKS = 12
MAX_SHOWN = 3
MAX_EXAMPLES = 10
MAX_LINES = 8
BAND = 0.32
BELOW = 0.35  # of a track, between the values under the last one and the sentences


def explanation_figure(
    explanation: Mapping[str, Any], schema: ModelSchema, row: Mapping[str, Any], title: str = ""
) -> Figure:
    """Figure of one explanation (as in `schemas/explanation.schema.json`) of a row, given by feature.

    One track per feature of the rule and of the counterfactuals, the most important first, from the least to
    the greatest value in training: the band is where the rule holds, the dot the row's value, and the arrows
    lead to the values of the counterfactuals, all arrows of one number together. The sentences below say the
    same in words. `title`, such as `Row 17`, stands before the prediction.

    The figure is not known to pyplot; save it with `savefig`, or log it to MLflow.
    """
    premises = {premise["feature"]: premise for premise in explanation["rule"]["premises"]}
    counterfactuals = explanation["counterfactuals"][:MAX_SHOWN]
    changes = [(i, change) for i, c in enumerate(counterfactuals) for change in c["changes"]]
    importance = explanation["feature_importances"]
    wanted = dict.fromkeys([*premises, *(change["feature"] for _, change in changes)])
    names = sorted(wanted, key=lambda name: -importance.get(name, 0.0))[:MAX_TRACKS]
    lines = _lines(explanation, counterfactuals)
    figure = new_figure(9.5, 1.3 + 0.52 * (max(len(names), 1) + BELOW) + 0.2 * len(lines))
    axes = figure.add_subplot()
    features = {feature.name: feature for feature in schema.features}
    wording = Wording(schema)
    for k, name in enumerate(names):
        steps = [(i, change["to"]) for i, change in changes if change["feature"] == name]
        _Track(axes, -k, features[name], wording).draw(premises.get(name), row.get(name), steps)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(0.6 - BELOW - max(len(names), 1), 0.75)
    told = shortened(list(map(wording.name, names)), 36)
    axes.set_yticks([-k for k in range(len(names))], told, fontsize=10, color=INK)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    _write_titles(axes, explanation, wording.label(explanation["prediction"]), title)
    axes.set_xlabel("\n".join(lines), loc="left", fontsize=8.5, color=INK, labelpad=6, linespacing=1.5)
    axes.xaxis.label.set_horizontalalignment("left")
    return figure


def _lines(explanation: Mapping[str, Any], counterfactuals: list[dict[str, Any]]) -> list[str]:
    """Rule, counterfactuals and notes as sentences, wrapped."""
    flips = [f"{_sign(i)} {c['text']}" for i, c in enumerate(counterfactuals)]
    held = explanation.get("held_fixed")
    flips += [f"Held fixed, as sensitive: {', '.join(held)}."] if held else []
    return [
        line.replace("$", r"\$")  # else matplotlib would take it for mathematics
        for text in (explanation["rule"]["text"], *flips, *explanation["notes"])
        for line in textwrap.wrap(text, 112, subsequent_indent="    ", max_lines=MAX_LINES, placeholder=" …")
    ]


def _write_titles(axes: Axes, explanation: Mapping[str, Any], prediction: str, title: str) -> None:
    head = f"{title}: " if title else ""
    head += f"{_short(prediction)} ({explanation['probability']:.0%})"
    rule = explanation["rule"]
    shares = ((rule["precision"], "right"), (rule["coverage"], "of rows"))  # null where not measured
    measured = ", ".join(f"{share:.0%} {what}" for share, what in shares if share is not None)
    legend = f"band: the rule holds ({measured}); arrows flip the class"
    axes.set_title(head, loc="left", fontsize=13, fontweight="bold", color=INK, pad=8)
    axes.set_title(legend, loc="right", fontsize=9, color=MUTED, pad=8)


def example_figures(
    explainer: Explainer, schema: ModelSchema, X: Floats, probabilities: Floats
) -> dict[Label, Figure]:
    """One figure per class that the model predicts: of the row whose probability is the middle one.

    `X` are coded rows to choose from, shape (n_rows, n_features), `probabilities` the model's answer to them.
    At most the first `MAX_EXAMPLES` classes are shown.
    """
    predicted = probabilities.argmax(axis=1)
    figures = {}
    for k, label in enumerate(schema.classes[:MAX_EXAMPLES]):
        rows = np.flatnonzero(predicted == k)
        if not len(rows):
            continue
        i = int(rows[np.argsort(probabilities[rows, k], kind="stable")[len(rows) // 2]])
        (explanation,) = explainer.explain(X[i : i + 1], Parameters())
        row = {str(name): value for name, value in decode(X[i : i + 1], schema).iloc[0].items()}
        figures[label] = explanation_figure(explanation, schema, row, f"Row {i}")
    return figures


@dataclass(frozen=True)
class _Track:
    """The line of one feature, at a height; places on it run from 0 to 1."""

    axes: Axes
    y: float
    feature: Feature
    wording: Wording

    @property
    def is_number(self) -> bool:
        return self.feature.type in ("double", "long", *DATE_TYPES)

    @property
    def names(self) -> list[Any]:
        """Values of a feature that is no number."""
        return [""] if self.feature.type == "text" else list(self.feature.categories or (False, True))

    def draw(self, premise: Mapping[str, Any] | None, value: Any, steps: list[tuple[int, Any]]) -> None:
        """The feature's range, the rule's part of it, the row's value, and the values that would flip it."""
        axes, y = self.axes, self.y
        self._draw_interval(premise) if self.is_number else self._draw_choices(premise)
        missing = value is None or value != value
        start = 0.5 if missing else self._place(value)
        if self.is_number and self.feature.minimum is not None and self.feature.maximum is not None:
            for at, bound, align in (
                (0.0, self.feature.minimum, "left"),
                (1.0, self.feature.maximum, "right"),
            ):
                if abs(start - at) > 0.1:
                    axes.text(
                        at, y - BAND, self._shown(float(bound)), fontsize=7, color=MUTED, ha=align, va="top"
                    )
        for i, to in steps:
            lift = 0.1 * (0.5 * (MAX_SHOWN - 1) - i)  # one above the other
            arrow = {
                "arrowstyle": "-|>",
                "color": SECOND,
                "lw": 1.0 if i else 1.8,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axes.annotate("", xy=(self._place(to), y + lift), xytext=(start, y + lift), arrowprops=arrow)
        if steps:
            end = self._place(steps[0][1])
            label = ", ".join(f"{_sign(i)} {self._text(to)}" for i, to in steps)
            align = "left" if end < 0.15 else "right" if end > 0.85 else "center"
            axes.text(end, y + 0.17, label, fontsize=8, color=SECOND, ha=align, va="bottom")
        face = "white" if missing else INK
        axes.plot([start], [y], "o", markersize=8, color=INK, markerfacecolor=face, zorder=5)
        text = "missing" if missing else self._text(self._typed(value))
        axes.text(start, y - BAND, text, fontsize=8, color=INK, ha="center", va="top", fontweight="bold")

    def _draw_interval(self, premise: Mapping[str, Any] | None) -> None:
        """Training range of a number, and the rule's interval on it."""
        self._bar(0.0, 1.0, GRID)
        if premise is not None and "in" not in premise:
            low = self._place(premise["above"]) if "above" in premise else 0.0
            high = self._place(premise["at_most"]) if "at_most" in premise else 1.0
            self._bar(low, max(high, low + 0.004), ACCENT)

    def _draw_choices(self, premise: Mapping[str, Any] | None) -> None:
        """Categories side by side, those that the rule allows filled."""
        allowed = [] if premise is None else premise.get("in", [""])
        if premise is not None and "in" not in premise and "not_in" in premise:
            allowed = [name for name in self.names if name not in premise["not_in"]]
        width = 1 / len(self.names)
        for k, name in enumerate(self.names):
            self._bar(k * width + 0.004, (k + 1) * width - 0.004, ACCENT if name in allowed else GRID)

    def _bar(self, low: float, high: float, color: str) -> None:
        alpha = 0.55 if color == ACCENT else 1.0
        self.axes.add_patch(
            FancyBboxPatch(
                (low, self.y - 0.11), max(high - low, 0.001), 0.22,
                boxstyle="round,pad=0,rounding_size=0.004", linewidth=0, facecolor=color, alpha=alpha,
            )
        )  # fmt: skip

    def _typed(self, value: Any) -> Any:
        """A canonical value in the feature's own type: booleans come as 0 and 1, whole numbers as floats."""
        if self.feature.type == "boolean":
            return bool(value)
        if self.feature.type in DATE_TYPES:
            return date_text(self._number(value), self.feature.type)
        return float(value) if self.is_number else value

    def _place(self, value: Any) -> float:
        """Where a value stands; in the middle where that cannot be said."""
        if not self.is_number:
            value = self._typed(value)
            return (self.names.index(value) + 0.5) / len(self.names) if value in self.names else 0.5
        low, high = self.feature.minimum, self.feature.maximum
        if low is None or high is None or high <= low:
            return 0.5
        return min(max((self._number(value) - low) / (high - low), 0.0), 1.0)

    def _number(self, value: Any) -> float:
        """A number or a date as its code."""
        if self.feature.type not in DATE_TYPES or isinstance(value, float):
            return float(value)
        seconds = seconds_in(value) if isinstance(value, str) else seconds_of(value)
        return (seconds or 0) / SECONDS_OF[self.feature.type]

    def _text(self, value: Any) -> str:
        return _short(self.wording.value(self.feature.name, value))

    def _shown(self, bound: float) -> str:
        is_date = self.feature.type in DATE_TYPES
        return date_text(bound, self.feature.type) if is_date else shown(bound)


def _sign(i: int) -> str:
    """Number of a counterfactual, as its arrows and its sentence bear it."""
    return f"({i + 1})"


def _short(text: str) -> str:
    return shortened([text], 36)[0]
