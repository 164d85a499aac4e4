"""Why a request was not answered, besides rows that do not fit the schema (`InputError`)."""

from __future__ import annotations

from proto_model.errors import ProtoModelError

__all__ = [
    "LengthError",
    "MediaTypeError",
    "MethodError",
    "NotFoundError",
    "OverloadError",
    "SlowAnswerError",
    "SlowBodyError",
    "too_many_rows",
]


class MediaTypeError(ProtoModelError):
    """The body is of a type that is not understood."""


class LengthError(ProtoModelError):
    """The body has more bytes, or the table more rows, than this server takes."""


class NotFoundError(ProtoModelError):
    """There is nothing at this path, or no model of this name or version."""


class MethodError(ProtoModelError):
    """The path is right, the method is not."""


class OverloadError(ProtoModelError):
    """As many requests are at work and waiting as this server allows."""


class SlowBodyError(ProtoModelError):
    """The body did not arrive in time."""


class SlowAnswerError(ProtoModelError):
    """The answer was not found in time."""


def too_many_rows(n_rows: int, max_rows: int) -> LengthError:
    """Error that says how many rows are taken."""
    return LengthError(f"{n_rows} rows given, at most {max_rows} are taken at once. Send fewer at a time.")
