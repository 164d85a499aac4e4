"""An S3 store for files on their way: boto3 moves the objects and signs their URLs for the model server.

boto3 is imported when a store is opened; nothing else in the mapper needs it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mapper.client.progress import Advance
from mapper.errors import MapperError, SettingsError
from mapper.model_server.answer import clean_message
from mapper.model_server.proxy import shown_url

MAX_EXPIRY_S = 7 * 24 * 3600  # of signature version 4
CONNECT_TIMEOUT_S = 10

# What a refusal means for the user, by the store's error code.
ADVICE = {
    "NoSuchBucket": "{endpoint} has no such bucket. Check its name and --endpoint-url.",
    "AccessDenied": "The credentials do not allow it.",
    "InvalidAccessKeyId": "{endpoint} does not know this access key. Is it for another store?",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key.",
    "ExpiredToken": "The session token has expired. Log in again.",
    "RequestTimeTooSkewed": "The clock of this machine differs too much from the store's. Correct it.",
}
SYNONYMS = {"404": "NoSuchBucket", "403": "AccessDenied", "TokenRefreshRequired": "ExpiredToken"}


class Store:
    """A folder in a bucket, with a client of boto3; every method raises MapperError if the store refuses."""

    def __init__(self, bucket: str, folder: str, client: Any) -> None:
        self._bucket = bucket
        self._folder = folder
        self._client = client

    @classmethod
    def open(cls, location: str, endpoint_url: str | None = None) -> Store:
        """The store at `s3://bucket` or `s3://bucket/folder`, once the bucket has been found.

        Raises SettingsError if the location, boto3 or the credentials cannot be used.
        """
        bucket, folder = _location(location)
        if endpoint_url is not None:
            shown_url(endpoint_url)
        with _told(f"Cannot use s3://{bucket}", endpoint_url or "the store"):
            client = _make_client(endpoint_url)
        store = cls(bucket, folder, client)
        region = store._region()
        if region not in (None, client.meta.region_name):  # what is signed has to name the bucket's own
            with store._told(f"Cannot use s3://{bucket}"):
                store._client = _make_client(endpoint_url, region)
        return store

    def shown(self, name: str) -> str:
        """An object as people write it."""
        return f"s3://{self._bucket}/{self._folder}{name}"

    def upload(self, file: Path, name: str, advance: Advance) -> None:
        """Put a file into the store, in parts where it is large."""
        with self._told(f"Cannot upload {file} to {self.shown(name)}"), file.open("rb") as content:
            self._client.upload_fileobj(content, self._bucket, self._folder + name, Callback=advance)

    def download(self, name: str, file: Path, advance: Advance) -> str:
        """Get an object into a new file, in parts where it is large; its SHA-256 as hexadecimal digits."""
        with file.open("xb+") as content:
            with self._told(f"Cannot download {self.shown(name)}"):
                self._client.download_fileobj(self._bucket, self._folder + name, content, Callback=advance)
            content.seek(0)
            return hashlib.file_digest(content, "sha256").hexdigest()

    def sign(self, method: Literal["get_object", "put_object"], name: str, expires_s: int) -> str:
        """Presigned URL of an object; it is a secret while it holds."""
        wanted = {"Bucket": self._bucket, "Key": self._folder + name}
        with self._told(f"Cannot sign {self.shown(name)}"):
            url = self._client.generate_presigned_url(method, wanted, ExpiresIn=min(expires_s, MAX_EXPIRY_S))
        return str(url)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._told(f"Cannot remove {self.shown(name)}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._folder + name)

    def _region(self) -> str | None:
        """Region that the bucket says it is in, if it says so; credentials need not cover the question."""
        refused: type[Exception] = import_module("botocore.exceptions").ClientError
        with self._told(f"Cannot use s3://{self._bucket}"):
            try:
                answer = self._client.head_bucket(Bucket=self._bucket)
            except refused as error:
                answer = error.response  # type: ignore[attr-defined]  # a ClientError has it
                if answer["ResponseMetadata"]["HTTPStatusCode"] != 403:
                    raise
        region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        return None if region is None else str(region)

    def _told(self, what: str) -> Any:
        return _told(what, shown_url(self._client.meta.endpoint_url))


def _location(location: str) -> tuple[str, str]:
    """Bucket, and the folder with a slash behind it."""
    scheme, _, rest = location.partition("://")
    bucket, _, folder = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise SettingsError(f"--store {location} given, s3://bucket or s3://bucket/folder expected.")
    folder = folder.strip("/")
    return bucket, f"{folder}/" if folder else ""


def _make_client(endpoint_url: str | None, region: str | None = None) -> Any:
    """S3 client of boto3, with what other stores than AWS need."""
    try:
        boto3, botocore = import_module("boto3"), import_module("botocore.config")  # optional, and heavy
    except ImportError as error:
        raise SettingsError("Files need boto3, which is not installed. Run: pip install boto3") from error
    session = boto3.Session()  # of its own: the default one remembers credentials

    def made(**options: Any) -> Any:
        config = botocore.Config(signature_version="s3v4", connect_timeout=CONNECT_TIMEOUT_S, **options)
        return session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)

    elsewhere: dict[str, Any] = {"s3": {"addressing_style": "path"}}
    if "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:  # not every store takes trailing checksums
        elsewhere["request_checksum_calculation"] = "when_required"
    try:
        client = made(**elsewhere)
    except ValueError as error:  # from the environment or a profile: a flag has been looked at
        raise SettingsError(f"Invalid configuration of boto3: {clean_message(str(error))}.") from error
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return made(s3={"addressing_style": "virtual"})  # "auto" signs for no region, which may redirect
    return client


@contextmanager
def _told(what: str, endpoint: str) -> Iterator[None]:
    """What boto3 raises, as a sentence without anything secret."""
    try:
        yield
    except Exception as error:
        message = _message(error, endpoint)
        if message is None:
            raise
        kind = SettingsError if "redential" in type(error).__name__ else MapperError
        raise kind(f"{what}. {message}") from error


def _message(error: Exception, endpoint: str) -> str | None:
    """Why boto3 failed; None for what is not its own."""
    try:
        known = import_module("botocore.exceptions")
        moving = import_module("s3transfer.exceptions")
    except ImportError:
        return None
    if isinstance(error, moving.RetriesExceededError):
        error = error.last_exception
    if isinstance(error, known.ClientError):
        answer: dict[str, Any] = error.response.get("Error", {})
        code = SYNONYMS.get(answer.get("Code", ""), answer.get("Code", "unknown"))
        said = clean_message(str(answer.get("Message", "")))
        return (
            ADVICE.get(code, "The store refused: {said}").format(endpoint=endpoint, said=said) + f" ({code})"
        )
    if isinstance(error, known.NoCredentialsError):
        return (
            "No credentials found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or log in as your store's documentation says."
        )
    if isinstance(error, known.ConnectionError | known.HTTPClientError):
        return f"{endpoint} does not answer. Is it running, and is --endpoint-url right?"
    if isinstance(error, known.BotoCoreError):
        return clean_message(str(error))
    return None
