"""What can go wrong on the model's side; every message says what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    *("ArtifactError", "CallerError", "DataError", "ExplanationError", "InputError", "ProtoModelError"),
    *("RegistryError", "UnknownNameError"),
    "listed",
]


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in a sentence, the first few of many."""
    rest = len(names) - most
    return ", ".join(map(repr, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun, whose plural ends in s unless it is given.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


class ProtoModelError(Exception):
    """Base of every error that this package raises on purpose."""


class CallerError(ProtoModelError):
    """What was given is wrong: an option, a name, a file, a setting. The same once more fails again."""


class DataError(CallerError):
    """A training table cannot be read, or nothing can be learned from it."""


class InputError(CallerError):
    """Rows sent for prediction or explanation do not fit the model's schema, or a parameter is wrong."""


class ArtifactError(ProtoModelError):
    """A file of a logged model is missing, damaged or of another version."""


class ExplanationError(ProtoModelError):
    """An explanation could not be made."""


class RegistryError(ProtoModelError):
    """The model registry does not hold what was asked for, or it changed in the meantime."""


class UnknownNameError(RegistryError, CallerError):
    """The registry has no model, version, alias or format of a name; the message says what there is."""
