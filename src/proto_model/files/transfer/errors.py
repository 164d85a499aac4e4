"""What can go wrong between a presigned URL and this process; no message holds a URL's query."""

from __future__ import annotations

from proto_model.errors import CallerError, ProtoModelError


class SettingsError(CallerError):
    """An environment variable of file scoring cannot be used."""


class UrlError(ProtoModelError):
    """A URL is not one that may be opened: malformed, expired, or pointing where it must not."""


class LimitError(ProtoModelError):
    """A file or a job is larger, or takes longer, than the settings allow."""


class TransferError(ProtoModelError):
    """A store did not send or accept a file."""
