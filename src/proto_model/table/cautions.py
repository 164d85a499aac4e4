"""What a user should know of a table before trusting a model of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proto_model.table.training_data import TrainingData


@dataclass(frozen=True)
class Caution:
    """Something that makes a model or its scores worth less than they look.

    `kind` is one word, for tags and programs; `columns` are those concerned, if any; `text` says what was
    found and what to do about it, in a few sentences of Markdown without line breaks.
    """

    kind: str
    columns: tuple[str, ...]
    text: str


def data_cautions(data: TrainingData, random_state: int = 0) -> tuple[Caution, ...]:
    """What the table alone gives reason to warn of; the gravest first."""
    return ()
