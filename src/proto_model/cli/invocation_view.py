"""Answers of a served model for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

__all__ = ["answer_table", "explanation_text"]


def answer_table(rows: list[dict[str, Any]]) -> Table:
    """Predictions and probabilities, a line per row."""
    table = Table(title="Predictions")
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    table.add_column("row", justify="right")
    for name in columns:
        table.add_column(name, justify="left" if name == "prediction" else "right")
    for number, row in enumerate(flat):
        table.add_row(str(number), *(_cell(row.get(name)) for name in columns))
    return table


def explanation_text(number: int, explanation: dict[str, Any]) -> str:
    """Rule and counterfactuals of a row, in words."""
    lines = [f"Why row {number}: {explanation['rule']['text']}"]
    for counterfactual in explanation["counterfactuals"]:
        doubt = "" if counterfactual["valid"] else " (not confirmed by the model)"
        lines.append(f"  {counterfactual['text']}{doubt}")
    if not explanation["counterfactuals"]:
        lines.append("  no counterfactual found")
    return "\n".join(lines + [f"  note: {note}" for note in explanation["notes"]])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Row without its explanation; the mapper's probabilities as columns of their own."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and name != "explanation":
            cells |= {f"{name} {key}": item for key, item in value.items()}
        elif name != "explanation":
            cells[name] = value
    return cells


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None or value == [] else str(value)
