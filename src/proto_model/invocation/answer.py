"""Answers of a model server or the mapper, as rows, and shown in a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from proto_model.invocation.http import InvocationError

if TYPE_CHECKING:
    from rich.table import Table

_OF_CLASS = ("probability_", "probabilities ")
_SHARED = "of each class"
_TEXTS = ("prediction", _SHARED)


def answered_rows(answer: Any) -> list[dict[str, Any]]:
    """Predictions in an answer of the model server or the mapper, one dictionary per row."""
    rows = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        raise InvocationError(f"No predictions in the answer: {json.dumps(answer)[:500]}")
    return rows


def parsed_rows(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of a CSV file that was scored, as they would be in an answer."""

    def value(name: str, text: str) -> Any:
        if name == "explanation":
            return json.loads(text)
        return float(text) if name.startswith("probability") else text

    return [{name: value(name, text) for name, text in row.items() if text} for row in rows]


def answer_table(rows: list[dict[str, Any]], width: int = 80) -> Table:
    """Predictions and probabilities, a line per row.

    Each class has a column where these fit into the width; else all share one, a line per class.
    """
    from rich.console import Console
    from rich.measure import Measurement

    flat = [_flat(row) for row in rows]
    console = Console(width=10_000, emoji=False)
    table = _table(flat)
    return (
        table
        if Measurement.get(console, console.options, table).maximum <= width
        else _table([_shared(row) for row in flat])
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Predictions")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table.add_column("row", justify="right")
    for name in columns:
        table.add_column(Text(name), justify="left" if name in _TEXTS else "right")
    for number, row in enumerate(rows):
        # as text: a class may be called [red]
        table.add_row(str(number), *(Text(_cell(row.get(name))) for name in columns))
    return table


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    """The cells of a row with the probabilities of all classes in one."""
    of_class = {name: value for name, value in row.items() if name.startswith(_OF_CLASS)}
    most = sorted(of_class.items(), key=lambda pair: -pair[1])
    lines = [
        f"{_cell(value)} {name.removeprefix('probabilities ').removeprefix('probability_')}"
        for name, value in most
    ]
    kept = {name: value for name, value in row.items() if name not in of_class}
    return kept | {_SHARED: "\n".join(lines)} if lines else kept


def explanation_text(number: int, explanation: dict[str, Any]) -> str:
    """Rule and counterfactuals of a row, in words; raises InvocationError for another form."""
    try:
        return _told(number, explanation)
    except (KeyError, TypeError) as error:
        shown = json.dumps(explanation)[:500]
        raise InvocationError(f"The explanation of row {number} has no known form: {shown}") from error


def _told(number: int, explanation: dict[str, Any]) -> str:
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
