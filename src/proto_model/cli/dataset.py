"""The data set of a training, a built-in table, a file, or the answer to a URL; and its dictionary."""

from __future__ import annotations

import http.client
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from proto_model import __version__
from proto_model.cli.paths import located
from proto_model.errors import DataError
from proto_model.registry.tracking import is_url, shown_url
from proto_model.table import BUILT_IN, RawTable, load_table, read_table
from proto_model.training.dictionary import MAX_BYTES, Document, read_document

_MAX_FILE_BYTES = 4 * 2**30
_TIMEOUT_S = 600.0
_SILENCE_S = 30.0
_IN_MEMORY_BYTES = 64 * 2**20
_ADVICE = "Download it and give the path."


def load_dataset(dataset: str, folders: Sequence[Path]) -> RawTable:
    """Table behind a built-in name, a path (a relative one is looked for in the folders) or an http(s) URL.

    A DataError says that there is no such table, or that it cannot be read.
    """
    if is_url(dataset):
        with download(dataset) as file:
            return read_table(file, shown_url(dataset))
    return load_table(located(dataset, folders, BUILT_IN))


def load_dictionary(source: str, folders: Sequence[Path]) -> Document | None:
    """Data dictionary behind a path or an http(s) URL, which are as for the data set; None without a source.

    A DataError says that there is none, or that it cannot be read.
    """
    if not source:
        return None
    if is_url(source):
        with download(source, max_file_bytes=MAX_BYTES, advice="Shorten the dictionary.") as file:
            return read_document(file.read(), shown_url(source))
    path = Path(located(source, folders))
    try:
        with path.open("rb") as file:
            return read_document(file.read(MAX_BYTES + 1), path.name)
    except OSError as error:
        raise DataError(f"Cannot read the dictionary {source}: {error.strerror or error}.") from error


@contextmanager
def download(
    url: str,
    *,
    max_file_bytes: int = _MAX_FILE_BYTES,
    timeout_s: float = _TIMEOUT_S,
    advice: str = _ADVICE,
) -> Iterator[BinaryIO]:
    """Temporary file with what an http(s) URL answers, at its start; gone afterwards.

    Unlike a file job's URL, this one comes from the person who runs the command: it may lead to any host,
    through a proxy, and be redirected, as addresses of published tables usually are.
    """
    shown = shown_url(url)
    deadline = time.monotonic() + timeout_s
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"proto-model/{__version__}"})
            with urllib.request.urlopen(request, timeout=min(_SILENCE_S, timeout_s)) as response:
                while chunk := response.read1(2**16):
                    file.write(chunk)
                    if file.tell() > max_file_bytes:
                        raise DataError(f"{shown} is larger than {max_file_bytes} bytes. {advice}")
                    if time.monotonic() > deadline:
                        raise DataError(f"{shown} took longer than {timeout_s:g} s. {_ADVICE}")
                if response.length:  # what the server announced and did not send
                    raise DataError(f"{shown}: the answer is incomplete. Try again.")
        except urllib.error.HTTPError as error:
            with error:
                raise DataError(
                    f"{shown} answered {error.code}. Check the address; presigned URLs expire."
                ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Without its reason, which may quote the URL with its query.
            raise DataError(f"No answer from {shown} ({type(error).__name__}). Is it reachable?") from None
        file.seek(0)
        yield file  # type: ignore[misc]  # a SpooledTemporaryFile is a binary file
