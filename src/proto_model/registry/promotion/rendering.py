"""The report for people: Markdown from its JSON object, and the figure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from proto_model.plotting import ACCENT, INK, MUTED, SECOND, dress, new_figure, shortened
from proto_model.registry.cautions import comparison_section
from proto_model.registry.promotion.comparison import Comparison, PairedCounts
from proto_model.registry.promotion.decision import shown_probability
from proto_model.schema import Label
from proto_model.training.evaluation import markdown_table

_MAX_LISTED = 50
_MAX_DRAWN = 20
_N_BARS = 41

_CLASS_COLUMNS = {
    "label": "class",
    "rows": "rows",
    "champion_recall": "champion",
    "challenger_recall": "challenger",
    "champion_only_right": "only champion right",
    "challenger_only_right": "only challenger right",
}

_table = functools.partial(markdown_table, numbers=True)


def markdown(report: dict[str, Any]) -> str:
    """Markdown of a report, from what `Report.to_dict` returns; says nothing that is not in there."""
    champion, challenger = report["champion"], report["challenger"]
    against = f"against version {champion['version']}" if champion else "as the first champion"
    parts = [
        f"# {report['model']}: version {challenger['version']} {against}",
        f"**{verdict_sentence(report)}** {report['reason']}",
    ]
    if report["rows"] is not None:
        parts += [
            _table(["Balanced accuracy", ""], score_lines(report)),
            "![Difference and recall of each class](comparison.png)",
            _rows(report),
            *_gates(report["gates"]),
        ]
        parts += ["## Recall of each class", _classes(report["classes"])]
    parts += comparison_section(report)
    parts += ["## The versions", _versions(report), "## How to recompute", _recipe(report)]
    return "\n\n".join(parts) + "\n"


def verdict_sentence(report: dict[str, Any]) -> str:
    """Which version is champion now, or would be."""
    challenger, champion = report["challenger"]["version"], report["champion"]
    if report["verdict"] == "promoted":
        verb = "would become" if report["dry_run"] else "becomes"
        return f"Version {challenger} {verb} champion."
    if champion is None:
        return (
            f"Version {challenger} {'would not become' if report['dry_run'] else 'does not become'} champion."
        )
    return f"Version {champion['version']} {'would stay' if report['dry_run'] else 'stays'} champion."


def score_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Both scores, their difference and how sure it is, each with its name; as much of it as there is."""
    sides = {role: report[role] for role in ("champion", "challenger") if report[role] is not None}
    lines = [
        (f"{role}, version {side['version']}", _share(side["balanced_accuracy"]))
        for role, side in sides.items()
    ]
    interval, mcnemar = report["interval"], report["mcnemar"]
    if interval is not None:
        lines += [
            ("difference", f"{report['difference']:+.4f}"),
            (
                f"{100 * interval['confidence']:g} % confidence interval",
                f"{interval['low']:+.4f} to {interval['high']:+.4f}",
            ),
            ("rows that only the champion gets right", f"{mcnemar['champion_only']}"),
            ("rows that only the challenger gets right", f"{mcnemar['challenger_only']}"),
            ("McNemar's test", f"p = {mcnemar['p_value']:.2g}"),
        ]
    evidence, attempt = report["evidence"], report["attempt"]
    if evidence is not None:
        margin = report["criteria"]["margin"]
        lines += [
            ("probability of being better", shown_probability(evidence["p_better"])),
            ("asked for", f"at least {shown_probability(evidence['p_better_asked'])}"),
            (f"probability of being worse by more than {margin:g}", shown_probability(evidence["p_worse"])),
            ("allowed", f"at most {shown_probability(evidence['p_worse_allowed'])}"),
        ]
        if needed := evidence["rows_needed"]:
            lines.append(("rows needed, if the difference is real", f"{needed['in_all']}"))
    if attempt is not None:
        lines.append((f"attempt since version {attempt['champion']} became champion", f"{attempt['number']}"))
    return lines


def _gates(gates: Sequence[dict[str, Any]]) -> list[str]:
    """Section with a row for each gate; nothing without gates."""
    if not gates:
        return []
    body = [
        [
            gate["gate"],
            gate["verdict"],
            *(_share(gate.get(key)) for key in ("estimate", "low", "high")),
            *(gate.get(key) or "" for key in ("rows", "rows_needed")),
            " against ".join(gate.get("compared") or ()),
        ]
        for gate in gates
    ]
    head = ["gate", "verdict", "estimate", "low", "high", "rows", "rows needed", "groups"]
    return ["## Gates", _table(head, body)]


def _rows(report: dict[str, Any]) -> str:
    rows = report["rows"]
    excluded = (
        "None was excluded."
        if rows["set_aside"] == 0
        else f"{rows['set_aside']} were excluded because one of the versions was trained on them, or on rows "
        "of the same key, group, time or features."
    )
    said = " ".join([*rows["caveats"], *rows["remarks"]])
    if rows["caveats"]:
        unseen = f"**A version may have seen some of these rows in training.** {said}"
    elif rows["remarks"]:
        unseen = f"No version saw any of these rows in training, as they are now. {said}"
    elif report["champion"] is None:
        unseen = "The version saw none of these rows in training."
    else:
        unseen = "Neither version saw any of the compared rows in training."
    unseen = " ".join([unseen, *rows["notes"]])
    return (
        f"Compared on {rows['compared']} held-out rows (digest `{rows['digest']}`) out of the "
        f"{rows['test_rows']} test rows of the challenger's training run. {excluded} {unseen}"
    )


def _classes(classes: Sequence[dict[str, Any]]) -> str:
    columns = [key for key in _CLASS_COLUMNS if key in classes[0]]
    body = [
        [_share(item[key]) if key.endswith("recall") else item[key] for key in columns]
        for item in classes[:_MAX_LISTED]
    ]
    rest = len(classes) - len(body)
    more = f"\n\nand {rest} more in `report.json`." if rest else ""
    return _table([_CLASS_COLUMNS[key] for key in columns], body) + more


def _versions(report: dict[str, Any]) -> str:
    keys = ["version", "run_id", "variant", "dataset", "signature", "schema_digest"]
    sides = [(name, report[name]) for name in ("champion", "challenger") if report[name] is not None]
    body = [[key.replace("_", " "), *(side[key] or "" for _, side in sides)] for key in keys]
    return _table(["", *(name for name, _ in sides)], body)


def _recipe(report: dict[str, Any]) -> str:
    criteria, interval = report["criteria"], report["interval"]
    sentences = [
        "`report.json` has all numbers, unrounded; `predictions.parquet` has the true label and the "
        "predictions of every row."
        if report["rows"]
        else "`report.json` has all that is known.",
    ]
    if interval is not None:
        sentences.append(f"Interval: {interval['method']}, {interval['n_draws']} draws.")
    sentences.append(f"Required: {_required(criteria)}.")
    libraries = ", ".join(f"{name} {version}" for name, version in report["libraries"].items())
    sentences.append(f"Made at {report['created_at']} with {libraries}.")
    return " ".join(sentences)


def _required(criteria: dict[str, Any]) -> str:
    required = "a higher balanced accuracy"
    if criteria["min_improvement"]:
        least = "at least" if criteria["rule"] == "point" else "more than"
        required = f"a balanced accuracy higher by {least} {criteria['min_improvement']:g}"
    if criteria["rule"] == "point":
        if criteria["confidence"] is not None:
            required += f", and a {100 * criteria['confidence']:g} % confidence interval above zero"
        return required
    equal = 0.05 if criteria["confidence"] is None else (1 - criteria["confidence"]) / 2
    together = "all attempts against one champion together" if criteria["sequential"] else "each attempt"
    return (
        f"{required}, by evidence that an equal model has in at most {100 * equal:g} % of cases, and one "
        f"that is worse by {criteria['margin']:g} in at most 1 %; of {together}"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def comparison_figure(
    classes: Sequence[Label], counts: PairedCounts, comparison: Comparison | None
) -> Figure:
    """Figure with the differences, if there is a comparison, and the recall of each class.

    Of many classes, those on which the two versions differ most.
    """
    n_shown = min(len(classes), _MAX_DRAWN)
    height = max(4.2, 1.6 + 0.36 * n_shown)
    figure = new_figure(7 if comparison is None else 12, height)
    *left, right = figure.subplots(1, 1 if comparison is None else 2, squeeze=False)[0]
    if comparison is not None:
        _draw_differences(left[0], comparison)
    _draw_recalls(right, classes, counts, with_champion=comparison is not None)
    return figure


def _draw_differences(axes: Axes, comparison: Comparison) -> None:
    differences = comparison.evidence.draws
    low, high = comparison.interval
    left, right = _limits(differences, low, high)
    axes.hist(differences, bins=np.linspace(left, right, _N_BARS + 1).tolist(), color=ACCENT, alpha=0.35)
    shown = f"{100 * comparison.evidence.confidence:g} % interval"
    axes.axvspan(low, high, color=ACCENT, alpha=0.12, lw=0, label=shown)
    axes.axvline(comparison.difference, color=ACCENT, lw=2.2, label="observed")
    axes.axvline(0, color=INK, lw=1.2, ls="--", label="zero")
    dress(
        axes,
        "Difference",
        "balanced accuracy, challenger minus champion: "
        f"{comparison.difference:+.4f} ({low:+.4f} to {high:+.4f})",
        f"of {len(differences):,} draws",
    )
    axes.set_xlim(left, right)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Legend above the axes, at the right of the title, where it hides nothing."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 0.99),
        ncols=3,
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _limits(differences: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Range of the axis, with zero in it and without the last outliers."""
    tail = np.quantile(differences, [0.0005, 0.9995])
    left, right = min(float(tail[0]), low, 0.0), max(float(tail[1]), high, 0.0)
    margin = 0.06 * (right - left) or 0.01
    return left - margin, right + margin


def _draw_recalls(axes: Axes, classes: Sequence[Label], counts: PairedCounts, *, with_champion: bool) -> None:
    champion, challenger = counts.recalls()
    present = np.flatnonzero(counts.n_rows)
    gaps = np.abs(challenger - champion)[present]
    shown = np.sort(present[np.argsort(-gaps, kind="stable")[:_MAX_DRAWN]])
    positions = np.arange(len(shown))
    if with_champion:
        axes.hlines(positions, champion[shown], challenger[shown], color=MUTED, lw=2, zorder=1)
        # A ring, so that it shows around a challenger at the same place.
        ring = axes.scatter(champion[shown], positions, s=110, color=SECOND, label="champion", zorder=3)
        ring.set_facecolor("none")
        ring.set_linewidth(2.2)
    axes.scatter(challenger[shown], positions, s=45, color=ACCENT, label="challenger", zorder=2)
    labels = shortened([classes[index] for index in shown])
    axes.set_yticks(
        positions,
        [f"{label}  ({counts.n_rows[index]})" for label, index in zip(labels, shown, strict=True)],
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    title = "Recall of each class (rows)"
    if len(shown) < len(present):
        title = f"Recall of {len(shown)} of {len(present)} classes (rows)"
    dress(axes, title, "recall")
    if with_champion:
        _legend(axes)
