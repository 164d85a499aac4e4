"""The object store of a file's round trip: the user's, one that runs on this machine, or one started for it.

boto3 finds credentials, region and endpoint as usual: AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proto_model.errors import InputError, ProtoModelError
from proto_model.invocation.local_store import BUCKET, REGION, ObjectStore

LOCAL_FOLDER = Path("build/store")
LOCAL_PORT = 9000
EXPIRES_S = 3600


class StoreError(ProtoModelError):
    """The store refused something."""


@dataclass(frozen=True)
class Store:
    """A folder in a bucket; every method raises StoreError if the store refuses."""

    shown: str
    bucket: str
    folder: str
    client: Any
    local: ObjectStore | None = None  # when it is one of this machine

    def sign(self, method: str, name: str) -> str:
        """Presigned URL for `get_object` or `put_object`."""
        with _told(f"Cannot sign for {self.shown}"):
            wanted = {"Bucket": self.bucket, "Key": self._key(name)}
            return str(self.client.generate_presigned_url(method, wanted, ExpiresIn=EXPIRES_S))

    def upload(self, file: Path, name: str) -> None:
        """Put a file into the store."""
        with _told(f"Cannot upload to {self.shown}"):
            self.client.upload_file(str(file), self.bucket, self._key(name))

    def download(self, name: str, file: Path) -> None:
        """Get a file out of the store."""
        with _told(f"Cannot download {self._key(name)} from {self.shown}"):
            self.client.download_file(self.bucket, self._key(name), str(file))

    def remove(self, *names: str) -> None:
        """Remove objects, if they are there."""
        with _told(f"Cannot remove what was uploaded to {self.shown}"):
            for name in names:
                self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


@contextmanager
def opened(
    location: str | None, endpoint_url: str | None, environment: Mapping[str, str] = os.environ
) -> Iterator[Store]:
    """The store at `s3://bucket/folder`; without a location one on this machine, started if none runs.

    The bucket of such a store is taken if AWS_ENDPOINT_URL is set, as `scripts/object_store.py env` does.
    """
    if location or environment.get("AWS_ENDPOINT_URL"):
        bucket, folder = _location(location or f"s3://{BUCKET}")
        yield Store(f"s3://{bucket}", bucket, folder, _client(endpoint_url, {}))
    elif (running := ObjectStore.on(LOCAL_FOLDER)) is not None:
        yield _of(running)
    else:
        with (
            tempfile.TemporaryDirectory() as temporary,
            ObjectStore.running(Path(temporary), LOCAL_PORT) as store,
        ):
            yield _of(store)


def _of(store: ObjectStore) -> Store:
    keys = {"aws_access_key_id": store.access_key, "aws_secret_access_key": store.secret_key}
    client = _client(store.endpoint, {**keys, "aws_session_token": "", "region_name": REGION})
    return Store(f"the store at {store.endpoint}", BUCKET, "", client, store)


def _location(text: str) -> tuple[str, str]:
    parts = urlsplit(text)
    if parts.scheme != "s3" or not parts.netloc:
        raise InputError(f"--store: {text!r} given, s3://bucket or s3://bucket/folder expected.")
    return parts.netloc, parts.path.strip("/")


def _client(endpoint_url: str | None, keys: dict[str, str]) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StoreError(
            'A model for files needs boto3. Install it with: pip install "proto-model-turbo[store]"'
        ) from error
    own = endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(signature_version="s3v4", s3={"addressing_style": "path" if own else "auto"})
    with _told("Cannot use the store"):
        return boto3.client("s3", endpoint_url=endpoint_url, config=config, **keys)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of boto3 as a sentence; they name no key and no signed URL."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise StoreError(f"{what}: {error}") from error
