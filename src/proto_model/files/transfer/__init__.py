"""Files behind presigned URLs: guarded, streamed, resumed, verified."""

from proto_model.files.transfer.connection import Deadline, Endpoint, check_descriptors
from proto_model.files.transfer.download import Download
from proto_model.files.transfer.errors import LimitError, SettingsError, TransferError, UrlError
from proto_model.files.transfer.guard import is_public, vetted_addresses
from proto_model.files.transfer.settings import FileSettings
from proto_model.files.transfer.upload import Content, check_signed_headers, upload
from proto_model.files.transfer.url import PresignedUrl

__all__ = [
    "Content",
    "Deadline",
    "Download",
    "Endpoint",
    "FileSettings",
    "LimitError",
    "PresignedUrl",
    "SettingsError",
    "TransferError",
    "UrlError",
    "check_descriptors",
    "check_signed_headers",
    "is_public",
    "upload",
    "vetted_addresses",
]
