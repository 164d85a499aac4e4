"""What can go wrong between a client and the model server, and what the check of a request finds.

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Self

LIST_LIMIT = 20
SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: a `kind` for programs, a message for people.

    `row` is a position in `data`, from 0; `field` names the feature, parameter or part of the request.
    """

    kind: str
    message: str
    row: int | None = None
    field: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON object of this finding; `row` and `field` are left out where they do not apply."""
        item = {"row": self.row, "field": self.field, "kind": self.kind, "message": self.message}
        return {name: value for name, value in item.items() if value is not None}

    def __str__(self) -> str:
        """One line for people."""
        row = None if self.row is None else f"row {self.row}"
        where = ", ".join(filter(None, (row, self.field)))
        return f"{where}: {self.message}" if where else self.message


# What is about a whole column, as a rule: told after wrong values, and once for all rows.
OF_COLUMNS = ("missing_field", "unknown_field")


class Findings:
    """The first findings of a request, and how many there were in all."""

    __slots__ = ("_columns", "_values", "count")

    def __init__(self) -> None:
        self._values: list[Finding] = []
        self._columns: dict[tuple[str, str | None], tuple[Finding, int]] = {}
        self.count = 0

    def add(self, kind: str, message: str, row: int | None = None, field: str | None = None) -> None:
        """Count one more, and keep it while the list is short; what several rows share counts once."""
        before = self._columns.get((kind, field))
        if before is not None:
            self._columns[kind, field] = before[0], before[1] + 1
            return
        self.count += 1
        if kind not in OF_COLUMNS:
            if len(self._values) < LIST_LIMIT:
                self._values.append(Finding(kind, message, row, field))
        else:
            self._columns[kind, field] = Finding(kind, message, row, field), 1

    @property
    def kept(self) -> list[Finding]:
        """The first wrong values, then what is about columns; what several rows share stands at the first."""
        columns = [
            found if n_rows == 1 else replace(found, message=f"{found.message} ({n_rows:,} rows)")
            for found, n_rows in self._columns.values()
        ]
        return [*self._values, *columns][:LIST_LIMIT]

    def is_told(self, kind: str, field: str) -> bool:
        """Whether a further finding about a column would only be counted: its message is not needed."""
        return (kind, field) in self._columns or len(self._columns) >= LIST_LIMIT


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


def short_name(name: object) -> str:
    """A name as given, cut when it is absurdly long, and such that it can be written as JSON."""
    text = str(name).encode(errors="replace").decode()
    return text if len(text) <= 100 else text[:99] + "…"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, or all of them, for a message about one that is not known.

    Examples
    --------
    >>> suggestion("wieght", ["weight", "age"]), suggestion("x", ["weight", "age"])
    ("did you mean 'weight'?", 'known: weight, age')
    """
    known = list(known)
    near = get_close_matches(name[:200], known, 1)
    return f"did you mean {shown(near[0])}?" if near else f"known: {', '.join(known) or 'none'}"


class MapperError(Exception):
    """Base of every error that this package raises on purpose; `str()` is its message alone."""

    #: What a log may say, where the message quotes a model server: answers may hold values of rows.
    for_log: str = ""

    def __str__(self) -> str:
        """The first argument."""
        return str(self.args[0])

    def logged_as(self, text: str) -> Self:
        """The error itself, of which a log says only a text."""
        self.for_log = text
        return self


class CallerError(MapperError):
    """What was given is wrong: an option, a name, a file, a row. The same once more fails again."""


class SettingsError(CallerError):
    """A flag or a MAPPER_* variable cannot be used."""


class SchemaError(CallerError):
    """A `schema.json` is missing, damaged or of another version."""


class MappingError(CallerError):
    """A `mapping.yaml` is wrong, or does not fit the model's schema: a line for each fault."""


class MapperCodeError(MapperError):
    """An application's own class failed, or gave what cannot be sent."""


class RegistryError(MapperError):
    """MLflow's registry, on its server or in its store, did not give a model version."""


class UnknownModelError(RegistryError, CallerError):
    """The registry has no model, version or alias of a name; the message says what there is."""


class NoAccessError(MapperError):
    """A request came without a token that is known."""


class NotHttpError(MapperError):
    """What a client sent is not HTTP."""


class HeadTooLargeError(MapperError):
    """The head of a request (its first line and its headers) is too large."""


class NotJsonError(MapperError):
    """The body of a request is not JSON."""


class MediaTypeError(MapperError):
    """The content type of a request is not supported."""


class ContentEncodingError(MapperError):
    """The content encoding of a request is not supported."""


class TooLargeError(MapperError):
    """A request has too many bytes or rows."""


class RequestTimeoutError(MapperError):
    """A client took too long to send its request."""


class ClientGoneError(MapperError):
    """The client disconnected while its request was waiting."""


class InvalidRequestError(CallerError):
    """A request does not fit the model's schema: `errors` are the first of `error_count` faults."""

    def __init__(self, message: str, errors: Sequence[Finding] = (), error_count: int | None = None) -> None:
        super().__init__(message, tuple(errors), error_count)
        self.errors = tuple(errors)
        self.error_count = len(self.errors) if error_count is None else error_count


class RefusedByModelError(MapperError):
    """The model server refused data that fits the schema which the mapper knows."""


class ModelServerAnswerError(MapperError):
    """The model server's answer does not fit the schema."""


class BusyError(MapperError):
    """Too many requests are waiting for the model server, or too many connections are open."""


class ModelServerDownError(MapperError):
    """The model server cannot be reached or is unavailable; try again in `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s


class ModelServerTimeoutError(MapperError):
    """The model server did not answer in time."""
