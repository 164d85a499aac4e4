"""A caution, and how it is written; what finds cautions is elsewhere, and loads statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """Something that makes a model or its scores worth less than they look.

    `kind` is one word, for tags and programs; `columns` are those concerned, if any; `text` says what was
    found and what to do about it, in a few sentences without line breaks; names stand between backquotes.
    """

    kind: str
    columns: tuple[str, ...]
    text: str


def caution_lines(cautions: Sequence[Caution]) -> list[str]:
    """One line of text for each caution, as it stands in lists of Markdown and of a terminal."""
    return [f"{caution.kind.replace('_', ' ')}: {caution.text}" for caution in cautions]


def caution_list(cautions: Sequence[Caution]) -> str:
    """The same as a list in Markdown, in which no name or label is taken for HTML or for a table."""
    lines = (line.replace("<", "&lt;") for line in caution_lines(cautions))
    return "\n".join(f"- **{kind}:** {text}" for kind, _, text in (line.partition(": ") for line in lines))


def caution_section(cautions: Sequence[Caution]) -> str:
    """The same as a section of Markdown, which says so when there is nothing to warn of."""
    found = caution_list(cautions) or (
        "None found: no leak, no shift between training and test rows, no contradictory classes, no class "
        "with few rows, no identifier among the features, no score that is too good to be true."
    )
    return f"## Cautions\n\n{found}"
