"""The outcome of a comparison for a terminal."""

from __future__ import annotations

from rich.table import Table

from proto_model.registry.promotion.markdown import verdict_sentence
from proto_model.registry.promotion.report import Report

__all__ = ["report_sentences", "report_table"]


def report_table(report: Report) -> Table:
    """Both scores, their difference and how sure it is; as much of it as there is.

    Parameters
    ----------
    report : Report
        What happened.

    Returns
    -------
    Table
        For `rich.console.Console.print`.
    """
    table = Table(title=f"{report.model}: balanced accuracy", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    evaluation, comparison = report.evaluation, report.comparison
    if evaluation is None:
        return table
    if report.champion is not None and comparison is not None:
        table.add_row(f"champion, version {report.champion.version}", f"{comparison.champion_score:.4f}")
    table.add_row(f"challenger, version {report.challenger.version}", f"{evaluation.challenger_score:.4f}")
    if comparison is not None:
        low, high = comparison.interval
        table.add_row("difference", f"[bold]{comparison.difference:+.4f}[/bold]")
        table.add_row(f"{100 * comparison.confidence:g} % interval", f"{low:+.4f} to {high:+.4f}")
        table.add_row("McNemar's test", f"p = {comparison.mcnemar_p_value:.2g}")
    rows = evaluation.rows
    table.add_row("held-out rows", f"{len(rows.frame)} ({rows.n_set_aside} set aside)")
    return table


def report_sentences(report: Report) -> list[str]:
    """Verdict, caveats and where the report is, each in a sentence or two."""
    sentences = [f"{verdict_sentence(report.to_dict())} {report.reason}"]
    if report.evaluation is not None:
        sentences += report.evaluation.rows.caveats
    if report.run_id is not None:
        sentences.append(f"The report is in run {report.run_id}.")
    if report.dry_run:
        sentences.append("Dry run: nothing was changed.")
    return sentences
