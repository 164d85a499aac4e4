"""Descriptions of versions: what users wrote, and below it the paragraph of the last comparison."""

from __future__ import annotations

import re

PARAGRAPH = re.compile(r"\n*^\*\*(?:Comparison|Rollback) of .*$", re.MULTILINE)


def own_description(text: str | None) -> str:
    """A version's description without the paragraph of a comparison or a rollback."""
    return PARAGRAPH.sub("", text or "").strip()


def redescribed(now: str, text: str) -> str:
    """A description that says something else, above the paragraph of the last comparison or rollback."""
    paragraph = "".join(match.group().strip() for match in PARAGRAPH.finditer(now))
    return f"{own_description(text)}\n\n{paragraph}".strip()
