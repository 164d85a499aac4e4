"""Why a request was not answered, besides rows that do not fit the schema (`InputError`)."""

from __future__ import annotations

import logging
import traceback

from proto_model.errors import InputError, ProtoModelError

logger = logging.getLogger(__name__)


class MediaTypeError(ProtoModelError):
    """The body is of a type that is not understood."""


class EncodingError(ProtoModelError):
    """The body is compressed in a way that is not understood."""


class LengthError(ProtoModelError):
    """The body has more bytes, or the table more rows, than this server takes."""


class NotFoundError(ProtoModelError):
    """There is nothing at this path, or no model of this name or version."""


class MethodError(ProtoModelError):
    """The path is right, the method is not."""


class OverloadError(ProtoModelError):
    """Too many requests are waiting."""


class EndingError(ProtoModelError):
    """The server was told to end, and what it has begun took too long."""


class SlowAnswerError(ProtoModelError):
    """The answer was not found in time."""


def too_many_rows(n_rows: int, max_rows: int) -> LengthError:
    """Error that says how many rows are taken."""
    return LengthError(f"{n_rows} rows given, at most {max_rows} are taken at once. Send fewer at a time.")


# Status, and MLflow's code, of each error.
STATUS: dict[type[Exception], tuple[int, str]] = {
    InputError: (400, "INVALID_PARAMETER_VALUE"),
    NotFoundError: (404, "ENDPOINT_NOT_FOUND"),
    MethodError: (405, "ENDPOINT_NOT_FOUND"),
    LengthError: (413, "RESOURCE_LIMIT_EXCEEDED"),
    MediaTypeError: (415, "BAD_REQUEST"),
    EncodingError: (415, "BAD_REQUEST"),
    EndingError: (503, "TEMPORARILY_UNAVAILABLE"),
    OverloadError: (503, "TEMPORARILY_UNAVAILABLE"),
    SlowAnswerError: (504, "DEADLINE_EXCEEDED"),
}


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold: a whole request.

    An error that comes from a thread is in a cycle with its future, which is only found once in a while.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def fault(error: Exception) -> tuple[int, str, str]:
    """Status, MLflow's code and message of an error; what was not foreseen is told to the log only."""
    if isinstance(error, ModuleNotFoundError):  # pyarrow, without the extra `files`
        return 415, "BAD_REQUEST", f"This server cannot read that: {error.name} is not installed."
    status, code = STATUS.get(type(error), (500, "INTERNAL_ERROR"))
    if status == 500:
        # Not the text of the error, which may quote values of rows.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("A request could not be answered: %s in\n%s", type(error).__name__, where)
    text = str(error) if isinstance(error, ProtoModelError) else "The server failed. Its log says why."
    # Half of a surrogate pair may come in with JSON, but cannot go out.
    return status, code, text.encode(errors="replace").decode()
