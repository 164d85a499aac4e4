"""Bytes of files from their places and to them; what is written appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from proto_model.files.transfer import (
    Content,
    Deadline,
    Download,
    Endpoint,
    FileSettings,
    LimitError,
    PresignedUrl,
    TransferError,
    UrlError,
    check_signed_headers,
    upload,
)
from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.jobs.job import Asset
from proto_model.jobs.places import Place

_CHUNK = 1 << 20
_MEDIA_TYPES = {
    "csv": "text/csv", "json": "application/json", "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet", "avro": "application/avro",
}  # fmt: skip


@dataclass(frozen=True)
class Transport:
    """Fetches and delivers the files of one job, until its deadline."""

    settings: FileSettings
    timeout_s: float

    def deadline(self) -> Deadline:
        """The time that a transfer has."""
        return Deadline(min(self.timeout_s, self.settings.max_job_s))

    def fetched(self, asset: Asset, folder: Path) -> Path:
        """An asset as a file: where it is if it is a local one, else below a folder, under its own name."""
        if asset.place is not None and asset.place.path is not None:
            return _readable(asset, asset.place.path)
        target = folder / asset.filename
        if asset.content is not None:
            target.write_bytes(asset.content)
            return target
        assert asset.place is not None
        with _told(asset), target.open("xb") as file, self._opened(asset) as stream:
            left = self.settings.max_input_bytes
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise LimitError(
                        f"{asset.at}.fileUrl {asset.place}: the file is too large. The limit is "
                        f"{self.settings.max_input_bytes:,} bytes (PROTO_MODEL_FILES_MAX_INPUT_BYTES)."
                    )
                file.write(chunk)
        return target

    def content(self, asset: Asset, most: int) -> bytes:
        """Content of a small asset."""
        if asset.content is not None:
            content = asset.content
        else:
            assert asset.place is not None
            with _told(asset), self._opened(asset) as stream:
                content = _up_to(stream, most + 1)
        if len(content) > most:
            raise JobError(f"{asset.at} has more than {most:,} bytes. Put data into files of their own.")
        return content

    def check_output(self, asset: Asset, *, overwrite: bool) -> None:
        """Raise JobError if it is clear before the work that an output cannot be written."""
        place = asset.place
        if place is None:
            return
        if place.path is not None:
            if not overwrite and os.path.lexists(place.path):
                raise JobError(
                    f"{asset.at}.fileUrl: {place} is there already. Remove it, or give --overwrite."
                )
            if not place.path.parent.is_dir():
                raise JobError(
                    f"{asset.at}.fileUrl: there is no folder {place.path.parent}. Make it, or write "
                    "elsewhere."
                )
            if place.path.is_dir():
                raise JobError(f"{asset.at}.fileUrl: {place} is a folder. Give the name of a file.")
            return
        with _told(asset):
            if place.kind == "web":
                endpoint = self._endpoint(asset, datetime.now(UTC))
                check_signed_headers(endpoint)
                endpoint.addresses()
            else:
                filesystem_of(place, f"{asset.at}.fileUrl")

    def delivered(self, path: Path, asset: Asset, *, overwrite: bool) -> None:
        """Put a finished file where an output belongs."""
        assert asset.place is not None
        with _told(asset, failed=True):
            if asset.place.path is not None:
                put(path, asset.place.path, overwrite=overwrite)
            elif asset.place.kind == "web":
                self._put_web(path, asset)
            else:
                copy_to_store(path, asset.place, f"{asset.at}.fileUrl")

    def _put_web(self, path: Path, asset: Asset) -> None:
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            media_type = _MEDIA_TYPES.get(asset.suffix_format, "application/octet-stream")
            content = Content(file, path.stat().st_size, digest.digest(), media_type)
            upload(self._endpoint(asset, datetime.now(UTC)), content, self.deadline())

    def _endpoint(self, asset: Asset, now: datetime) -> Endpoint:
        assert asset.place is not None
        url = PresignedUrl.parse(asset.place.text, f"{asset.at}.fileUrl")
        url.check_expiry(f"{asset.at}.fileUrl", now)
        return Endpoint(url, f"{asset.at}.fileUrl", self.settings)

    @contextlib.contextmanager
    def _opened(self, asset: Asset) -> Iterator[IO[bytes] | Download]:
        place = asset.place
        assert place is not None
        if place.path is not None:
            with _readable(asset, place.path).open("rb") as file:
                yield file
        elif place.kind == "web":
            with contextlib.closing(
                Download(self._endpoint(asset, datetime.now(UTC)), self.deadline())
            ) as stream:
                yield stream
        else:
            filesystem, path = filesystem_of(place, f"{asset.at}.fileUrl")
            with filesystem.open_input_stream(path) as stream:
                yield stream


def _up_to(stream: IO[bytes] | Download, most: int) -> bytes:
    """The file, or its first bytes; one reading of a download gives what has arrived."""
    parts: list[bytes] = []
    while most > 0 and (part := stream.read(most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def put(path: Path, target: Path, *, overwrite: bool) -> None:
    """Copy a finished file to a name, where it appears at once; an OSError says that it cannot be."""
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with path.open("rb") as source, part.open("xb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
        if overwrite:
            part.replace(target)
        else:
            os.link(part, target)  # unlike a rename, this fails if somebody has written it in between
    finally:
        part.unlink(missing_ok=True)


def copy_to_store(path: Path, place: Place, where: str) -> None:
    """Copy a finished file to a store; of HDFS, it has another name until it is complete."""
    filesystem, target = filesystem_of(place, where)
    part = f"{target}.{secrets.token_hex(4)}.part" if place.text.startswith(("hdfs", "viewfs")) else target
    if part != target:
        filesystem.create_dir(os.path.dirname(target), recursive=True)
    with path.open("rb") as source, filesystem.open_output_stream(part) as copy:
        shutil.copyfileobj(source, copy, _CHUNK)
    if part != target:
        filesystem.move(part, target)


def filesystem_of(place: Place, where: str) -> tuple[Any, str]:
    """File system of pyarrow for a store, and the path in it."""
    try:
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem
    except ModuleNotFoundError as error:
        raise JobError(
            f'{where} {place}: stores need pyarrow. Install it with: pip install "proto-model-turbo[files]"'
        ) from error
    scheme, _, rest = place.text.partition("://")
    uri = f"{'s3' if scheme in ('s3a', 's3n') else scheme}://{rest}"
    try:
        found: tuple[Any, str] = FileSystem.from_uri(uri)
    except (ArrowException, OSError, ValueError) as error:
        hint = (
            "HDFS needs Hadoop's libhdfs and its CLASSPATH on this machine"
            if scheme in ("hdfs", "viewfs")
            else f"this machine's pyarrow has to know {scheme}, and the environment its credentials"
        )
        raise JobError(
            f"{where} {place} cannot be opened from here: {_first_line(error)}. For that, {hint}; or copy "
            "the file, and give its path."
        ) from error
    return found


@contextlib.contextmanager
def _told(asset: Asset, *, failed: bool = False) -> Iterator[None]:
    """Errors of files and stores as errors of a job, with the place and without its secrets."""
    try:
        yield
    except (LimitError, TransferError, UrlError) as error:
        raise (JobFailedError if failed else JobError)(str(error)) from error
    except FileExistsError as error:
        raise JobFailedError(f"{asset.at}.fileUrl: {asset.place} is there already by now.") from error
    except OSError as error:
        said = error.strerror or _first_line(error)
        doing = "write" if failed else "read"
        kind = JobFailedError if failed else JobError
        raise kind(f"{asset.at}.fileUrl: cannot {doing} {asset.place}: {said}.") from error


def _readable(asset: Asset, path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        what = "is a folder, a file expected"
    else:
        what = "is no plain file" if path.exists() else "does not exist, or cannot be opened"
    raise JobError(f"{asset.at}.fileUrl: {asset.place} {what}. Correct the path.")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200].rstrip(".")


def copied_tree(folder: Path, each: Callable[[Path, str], None]) -> None:
    """Call a function with each file below a folder, and its name there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            each(path, path.relative_to(folder).as_posix())
