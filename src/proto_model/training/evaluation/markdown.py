"""Tables and cells in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What Markdown, HTML, or a viewer that finds addresses and formulas by itself makes something of.
_SIGNS = re.compile(r"[\\`*_\[\]|~@$#!]|:(?=//)|(?<=[wW]{3})\.")


class Markdown(str):
    """Text that is Markdown already, and fits into a table."""


def literal(text: str) -> str:
    r"""Markdown that shows a text of somebody else as it is, and no more than that.

    Examples
    --------
    >>> print(literal("<b>[mm](http://x)</b>"))
    &lt;b&gt;\[mm\](http\://x)&lt;/b&gt;
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SIGNS.sub(r"\\\g<0>", plain)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], numbers: bool = False) -> str:
    """Table in Markdown; `numbers` aligns all columns but the first to the right."""
    ruler = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in [header, ruler, *rows])


def cell(value: object) -> str:
    """Text that cannot break out of a Markdown table or be taken for HTML."""
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 200 else text[:199] + "…"
