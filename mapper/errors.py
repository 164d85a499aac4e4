"""What can go wrong between a client and the model server; every message says what, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from mapper.mapping.findings import Finding

__all__ = [
    "BusyError",
    "ClientGoneError",
    "ContentEncodingError",
    "HeadTooLargeError",
    "InvalidRequestError",
    "MapperError",
    "MediaTypeError",
    "ModelServerAnswerError",
    "ModelServerDownError",
    "ModelServerTimeoutError",
    "NotHttpError",
    "NotJsonError",
    "RefusedByModelError",
    "RegistryError",
    "RequestTimeoutError",
    "SchemaError",
    "SettingsError",
    "TooLargeError",
]


class MapperError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(MapperError):
    """A flag or a MAPPER_* variable cannot be used."""


class SchemaError(MapperError):
    """A `schema.json` is missing, damaged or of another version."""


class RegistryError(MapperError):
    """The MLflow server does not give the files of a model version."""


class NotHttpError(MapperError):
    """What a client sent is not HTTP, or cannot be read as such."""


class HeadTooLargeError(MapperError):
    """The line and the headers of a request have more bytes than are taken."""


class NotJsonError(MapperError):
    """The body of a request is not JSON."""


class MediaTypeError(MapperError):
    """The body of a request has a content type that is not taken."""


class ContentEncodingError(MapperError):
    """The body of a request is compressed in a way that is not taken."""


class TooLargeError(MapperError):
    """A request has more bytes or rows than are taken."""


class RequestTimeoutError(MapperError):
    """A client took too long to send its request."""


class ClientGoneError(MapperError):
    """The client went away before its request's turn came."""


class InvalidRequestError(MapperError):
    """A request does not fit the model's schema.

    Parameters
    ----------
    message : str
        What was wrong, in one sentence.
    errors : sequence of Finding
        The first faults, row by row.
    error_count : int
        How many faults there are in all.
    """

    def __init__(self, message: str, errors: Sequence[Finding] = (), error_count: int | None = None) -> None:
        super().__init__(message, tuple(errors), error_count)
        self.message = message
        self.errors = tuple(errors)
        self.error_count = len(self.errors) if error_count is None else error_count

    def __str__(self) -> str:
        """The sentence alone; the faults are in `errors`."""
        return self.message


class RefusedByModelError(MapperError):
    """The model server refused data that fits the schema which the mapper knows."""


class ModelServerAnswerError(MapperError):
    """The model server answered, but not as the schema says."""


class BusyError(MapperError):
    """As many requests wait for the model server, or connections are open, as are allowed to."""


class ModelServerDownError(MapperError):
    """The model server cannot be reached, or says that it is away.

    Parameters
    ----------
    message : str
        What was wrong.
    retry_after_s : int
        When it is worth trying again.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        """The sentence alone."""
        return self.message


class ModelServerTimeoutError(MapperError):
    """The model server took longer than is waited for it."""
