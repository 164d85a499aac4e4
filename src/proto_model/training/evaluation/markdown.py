"""Tables and cells in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], numbers: bool = False) -> str:
    """Table in Markdown; `numbers` aligns all columns but the first to the right."""
    ruler = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in [header, ruler, *rows])


def cell(value: object) -> str:
    """Text that cannot break out of a Markdown table or be taken for HTML."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 200 else text[:199] + "…"
