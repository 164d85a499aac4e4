"""Where the files of a job are: paths, file://, presigned http(s) URLs, and stores such as s3:// and hdfs://.

Messages, logs and results show a place without the query and the fragment of its URL, which may be secret.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from proto_model.files.transfer import PresignedUrl, UrlError
from proto_model.jobs.errors import JobError

Kind = Literal["path", "web", "store"]

STORES = ("s3", "s3a", "s3n", "hdfs", "viewfs", "gs", "abfs", "abfss")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LONGEST = 16_384


@dataclass(frozen=True)
class Place:
    """A place of a file; `text` is its URL as given, with whatever secret is in it."""

    kind: Kind
    text: str = field(repr=False)
    shown: str
    name: str
    path: Path | None = None
    is_relative: bool = False

    @property
    def identity(self) -> str:
        """What two places share if they are the same; links are followed."""
        return os.path.realpath(self.path) if self.path is not None else self.shown

    def __str__(self) -> str:
        """The place without its secrets."""
        return self.shown


def parse_place(text: str, where: str, folder: Path) -> Place:
    """Place of a fileUrl; relative paths start at a folder and stay in it; messages call it `where`."""
    if len(text) > _LONGEST or any(not character.isprintable() for character in text):
        raise JobError(f"{where} is too long, or has characters that no path or URL has. Correct it.")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _path(text, text, where, folder)
    name = scheme[1].lower()
    if name in ("http", "https"):
        return _web(text, where)
    if name == "file":
        return _file(text, where, folder)
    if name in STORES:
        return _store(text, where)
    raise JobError(
        f"{where}: {scheme[1][:40]!r} is not a kind of URL that jobs read or write. Give a path, or a URL of "
        f"file, https, {', '.join(STORES)}."
    )


def _path(text: str, path: str, where: str, folder: Path) -> Place:
    given = Path(path)
    if not given.is_absolute() and ".." in given.parts:
        raise JobError(
            f"{where}: {path[:200]!r} leads out of the job's folder. Give an absolute path, or move the file."
        )
    if not given.name:
        raise JobError(f"{where}: {path[:200]!r} names no file. Correct it.")
    relative = not given.is_absolute()
    return Place("path", text, path, given.name, (folder / given).absolute(), relative)


def _file(text: str, where: str, folder: Path) -> Place:
    parts = _split(text, where)
    if parts.netloc not in ("", "localhost"):
        raise JobError(f"{where}: a file URL names a file of this machine: file:///folder/data.csv")
    path = unquote(parts.path)
    if not path.startswith("/") or parts.query or parts.fragment or "\0" in path:
        raise JobError(f"{where}: a file URL has an absolute path and no ? or #: file:///folder/data.csv")
    return _path(text, path, where, folder)


def _web(text: str, where: str) -> Place:
    try:
        url = PresignedUrl.parse(text, where)
    except UrlError as error:
        raise JobError(str(error)) from error
    return Place("web", text, str(url), PurePosixPath(unquote(url.path)).name)


def _store(text: str, where: str) -> Place:
    parts = _split(text, where)
    # An endpoint in a query could be any host of this network, and keys in a URL end up in logs.
    has_user = "@" in parts.netloc and not parts.scheme.startswith("abfs")  # abfs://container@account/path
    if has_user or parts.query or parts.fragment or ":" in parts.netloc.rpartition("@")[0]:
        raise JobError(
            f"{where}: a URL of a store has no user, password, ? or #. Give credentials by the environment "
            "of the command."
        )
    name = PurePosixPath(parts.path).name
    if not name or ".." in PurePosixPath(parts.path).parts:
        raise JobError(f"{where}: the URL names no file. Write {parts.scheme}://where/folder/data.csv")
    return Place("store", text, text, name)


def _split(text: str, where: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise JobError(f"{where} is not a URL that can be read. Correct it.") from error
