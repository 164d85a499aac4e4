"""Errors as clients see them: problem details (RFC 9457), and the one table from errors to statuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple

from mapper import errors

MEDIA_TYPE = "application/problem+json"
ENCODINGS = ("gzip", "deflate")


class ProblemKind(NamedTuple):
    """A kind of problem: its status, the last part of its `type`, and its `title`."""

    status: int
    name: str
    title: str


class Problem(NamedTuple):
    """A problem document with the headers that go with it."""

    status: int
    outcome: str
    document: dict[str, Any]
    headers: dict[str, str]


PROBLEMS: dict[type[errors.MapperError], ProblemKind] = {
    errors.NotHttpError: ProblemKind(400, "not-http", "The request is not HTTP"),
    errors.NotJsonError: ProblemKind(400, "not-json", "The body is not JSON"),
    errors.NoAccessError: ProblemKind(401, "no-access", "A token is needed"),
    errors.RequestTimeoutError: ProblemKind(408, "request-timeout", "The request took too long to arrive"),
    errors.TooLargeError: ProblemKind(413, "too-large", "The request is too large"),
    errors.MediaTypeError: ProblemKind(415, "wrong-media-type", "The content type is not supported"),
    errors.ContentEncodingError: ProblemKind(415, "wrong-encoding", "The content encoding is not supported"),
    errors.InvalidRequestError: ProblemKind(422, "invalid-request", "The request does not fit the model"),
    errors.RefusedByModelError: ProblemKind(422, "refused-by-model", "The model refused the request"),
    errors.HeadTooLargeError: ProblemKind(431, "head-too-large", "The headers are too large"),
    errors.MapperCodeError: ProblemKind(500, "mapper-code", "The application's mapper failed"),
    errors.ModelServerAnswerError: ProblemKind(502, "wrong-answer", "The model server's answer is invalid"),
    errors.BusyError: ProblemKind(503, "busy", "The mapper is busy"),
    errors.ModelServerDownError: ProblemKind(503, "model-server-away", "The model server is not reachable"),
    errors.ModelServerTimeoutError: ProblemKind(
        504, "model-server-timeout", "The model server did not answer in time"
    ),
}


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold: a whole request.

    An error that comes from a thread is in a cycle with its future, which is only found once in a while.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def problem_of(error: errors.MapperError, request_id: str) -> Problem:
    """The problem that an error is to the client."""
    kind = PROBLEMS.get(type(error), ProblemKind(500, "internal-error", "The mapper failed"))
    document = _document(kind, str(error), request_id)
    headers = {}
    if isinstance(error, errors.InvalidRequestError):
        document["errors"] = [fault.to_dict() for fault in error.errors]
        document["error_count"] = error.error_count
    if isinstance(error, errors.ContentEncodingError):
        headers["Accept-Encoding"] = ", ".join(ENCODINGS)
    elif isinstance(error, errors.ModelServerDownError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, errors.NoAccessError):
        headers["WWW-Authenticate"] = 'Bearer realm="mapper"'
    elif isinstance(error, errors.BusyError):
        headers["Retry-After"] = "1"
    return Problem(kind.status, kind.name, document, headers)


def problem_of_status(status: int, detail: str, request_id: str) -> Problem:
    """A problem that is only an HTTP status, such as 404 or 405."""
    phrase = HTTPStatus(status).phrase
    kind = ProblemKind(status, phrase.lower().replace(" ", "-"), phrase)
    return Problem(status, kind.name, _document(kind, detail, request_id), {})


def _document(kind: ProblemKind, detail: str, request_id: str) -> dict[str, Any]:
    return {
        "type": f"/docs#{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request_id,
    }
