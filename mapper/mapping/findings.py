"""What the check of a request found: faults, which refuse it, and warnings, which go with the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LIST_LIMIT", "Finding", "Findings", "shown"]

LIST_LIMIT = 20
SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Parameters
    ----------
    kind : str
        Short name that programs can tell apart, such as `missing_field`.
    message : str
        A sentence: what was given, what is expected.
    row : int or None
        Position in `data`, from 0; None when it is not about one row.
    field : str or None
        Name of the feature, parameter or part of the request.
    """

    kind: str
    message: str
    row: int | None = None
    field: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON object of this finding; `row` and `field` are left out where they do not apply."""
        item: dict[str, Any] = {} if self.row is None else {"row": self.row}
        if self.field is not None:
            item["field"] = self.field
        item["kind"] = self.kind
        item["message"] = self.message
        return item

    def __str__(self) -> str:
        """One line for people."""
        where = [f"row {self.row}"] if self.row is not None else []
        where += [self.field] if self.field is not None else []
        return f"{', '.join(where)}: {self.message}" if where else self.message


class Findings:
    """The first findings of a request, and how many there were in all."""

    __slots__ = ("count", "kept")

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, kind: str, message: str, row: int | None = None, field: str | None = None) -> None:
        """Count one more, and keep it while the list is short."""
        self.count += 1
        if len(self.kept) < LIST_LIMIT:
            self.kept.append(Finding(kind, message, row, field))

    @property
    def full(self) -> bool:
        """Whether further findings are only counted, so that no effort should go into their messages."""
        return len(self.kept) >= LIST_LIMIT


def shown(value: object) -> str:
    """A value as a message shows it: JSON's spelling, and not too long.

    Examples
    --------
    >>> shown(True), shown(None), shown("3.7"), shown([1, 2])
    ('true', 'null', "'3.7'", 'a list')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return "a huge whole number"  # writing out its digits takes quadratic time
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
