"""The report as Markdown, from its JSON object: what a person reads in MLflow or in a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proto_model.training.evaluation.card import cell

__all__ = ["markdown", "verdict_sentence"]

_MAX_CLASSES = 50


def markdown(report: dict[str, Any]) -> str:
    """Markdown of a report.

    Parameters
    ----------
    report : dict
        As `Report.to_dict` returns it.

    Returns
    -------
    str
        Says nothing that is not in `report`.
    """
    champion, challenger = report["champion"], report["challenger"]
    against = f"against version {champion['version']}" if champion else "as the first champion"
    parts = [
        f"# {report['model']}: version {challenger['version']} {against}",
        f"**{verdict_sentence(report)}** {report['reason']}",
    ]
    if report["rows"] is not None:
        parts += [_scores(report), "![Difference and recall of each class](comparison.png)", _rows(report)]
        parts += ["## Recall of each class", _classes(report["classes"], champion is not None)]
    parts += ["## The versions", _versions(report), "## To recompute", _recipe(report)]
    return "\n\n".join(parts) + "\n"


def verdict_sentence(report: dict[str, Any]) -> str:
    """Who is champion now, or would be."""
    challenger, champion = report["challenger"]["version"], report["champion"]
    if report["verdict"] == "promoted":
        verb = "would become" if report["dry_run"] else "becomes"
        return f"Version {challenger} {verb} champion."
    assert champion is not None
    return f"Version {champion['version']} {'would stay' if report['dry_run'] else 'stays'} champion."


def _scores(report: dict[str, Any]) -> str:
    champion, challenger = report["champion"], report["challenger"]
    if champion is None:
        return f"Balanced accuracy: **{challenger['balanced_accuracy']:.4f}**."
    interval, mcnemar = report["interval"], report["mcnemar"]
    return _table(
        ["Balanced accuracy", ""],
        [
            [f"champion, version {champion['version']}", f"{champion['balanced_accuracy']:.4f}"],
            [f"challenger, version {challenger['version']}", f"{challenger['balanced_accuracy']:.4f}"],
            ["difference", f"{report['difference']:+.4f}"],
            [
                f"{100 * interval['confidence']:g} % confidence interval",
                f"{interval['low']:+.4f} to {interval['high']:+.4f}",
            ],
            [
                f"McNemar's test: {mcnemar['champion_only']} rows only the champion got right, "
                f"{mcnemar['challenger_only']} only the challenger",
                f"p = {mcnemar['p_value']:.2g}",
            ],
        ],
    )


def _rows(report: dict[str, Any]) -> str:
    rows = report["rows"]
    set_aside = (
        "None was set aside."
        if rows["set_aside"] == 0
        else f"{rows['set_aside']} of them were set aside because one of the versions was trained on them."
    )
    who = "Neither version" if report["champion"] else "It"
    unseen = (
        f"{who} saw any of the compared rows in training."
        if rows["unseen_by_both"]
        else "**It cannot be established that neither version saw them in training.** "
        + " ".join(rows["caveats"])
    )
    if report["champion"] is None:
        unseen = "The version saw none of these rows in training."
    return (
        f"Judged on {rows['compared']} held-out rows (digest `{rows['digest']}`) out of the "
        f"{rows['test_rows']} test rows of the challenger's training run. {set_aside} {unseen}"
    )


def _classes(classes: Sequence[dict[str, Any]], with_champion: bool) -> str:
    shown = classes[:_MAX_CLASSES]
    if with_champion:
        header = ["class", "rows", "champion", "challenger", "only champion right", "only challenger right"]
        body = [
            [
                str(item["label"]),
                str(item["rows"]),
                _share(item["champion_recall"]),
                _share(item["challenger_recall"]),
                str(item["champion_only_right"]),
                str(item["challenger_only_right"]),
            ]
            for item in shown
        ]
    else:
        header = ["class", "rows", "recall"]
        body = [[str(item["label"]), str(item["rows"]), _share(item["challenger_recall"])] for item in shown]
    rest = len(classes) - len(shown)
    return _table(header, body) + (f"\n\nand {rest} more in `report.json`." if rest else "")


def _versions(report: dict[str, Any]) -> str:
    keys = ["version", "run_id", "variant", "dataset", "signature", "schema_digest"]
    sides = [(name, report[name]) for name in ("champion", "challenger") if report[name] is not None]
    return _table(
        ["", *(name for name, _ in sides)],
        [
            [key.replace("_", " "), *("" if side[key] is None else str(side[key]) for _, side in sides)]
            for key in keys
        ],
    )


def _recipe(report: dict[str, Any]) -> str:
    criteria, interval = report["criteria"], report["interval"]
    sentences = [
        "`report.json` holds all numbers, unrounded; `predictions.parquet` the true label and each version's "
        "prediction of every row."
        if report["rows"]
        else "`report.json` holds all that is known.",
    ]
    if interval is not None:
        sentences.append(
            f"Interval: {interval['method']}, {interval['n_resamples']} resamples, seed "
            f"{interval['random_state']}."
        )
    asked = "a higher balanced accuracy"
    if criteria["min_improvement"]:
        asked = f"a balanced accuracy higher by at least {criteria['min_improvement']:g}"
    if criteria["confidence"] is not None:
        asked += f", and a {100 * criteria['confidence']:g} % confidence interval above zero"
    sentences.append(f"Asked for: {asked}.")
    libraries = ", ".join(f"{name} {version}" for name, version in report["libraries"].items())
    sentences.append(f"Made at {report['created_at']} with {libraries}.")
    return " ".join(sentences)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)
