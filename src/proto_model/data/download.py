"""The file behind an http(s) URL, for as long as it is read."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import urlsplit

import urllib3

from proto_model.errors import DataError

__all__ = ["download", "is_url", "shown_url"]

_MAX_FILE_BYTES = 4 * 2**30
_TIMEOUT_S = 600.0
_SILENCE_S = 30.0
_IN_MEMORY_BYTES = 64 * 2**20


def is_url(text: str) -> bool:
    """Whether a text is meant as an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """URL without credentials, query and fragment, which may be secrets.

    Examples
    --------
    >>> shown_url("https://me:secret@files.example:8000/a/wine.csv?signature=secret#top")
    'https://files.example:8000/a/wine.csv'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def download(
    url: str, *, max_file_bytes: int = _MAX_FILE_BYTES, timeout_s: float = _TIMEOUT_S
) -> Iterator[BinaryIO]:
    """Temporary file with what a URL answers, at its start; gone afterwards.

    Parameters
    ----------
    url : str
        Of http or https; redirects are followed.
    max_file_bytes : int
        Largest file that is accepted.
    timeout_s : float
        Longest time for the whole download.

    Yields
    ------
    binary file

    Raises
    ------
    DataError
        If there is no answer, or no file in it, or it is too large or too slow.
    """
    shown = shown_url(url)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        deadline = time.monotonic() + timeout_s
        # Its own pool, closed at once: urllib3 logs no URL above DEBUG.
        with urllib3.PoolManager(retries=urllib3.Retry(connect=2, read=0, redirect=5)) as pool:
            try:
                response = pool.request("GET", url, preload_content=False, timeout=min(_SILENCE_S, timeout_s))
                if response.status != 200:
                    raise DataError(
                        f"{shown} answered {response.status}. Is the address right? Presigned URLs expire."
                    )
                for chunk in response.stream(2**20, decode_content=True):
                    file.write(chunk)
                    if file.tell() > max_file_bytes:
                        raise DataError(f"{shown} is larger than {max_file_bytes} bytes. Download it first.")
                    if time.monotonic() > deadline:
                        raise DataError(f"{shown} took longer than {timeout_s:g} s. Download it first.")
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                # The reason is left out of the message: it quotes the URL with its query.
                raise DataError(
                    f"{shown}: no complete answer ({type(error).__name__}). Is it reachable?"
                ) from None
        file.seek(0)
        yield file  # type: ignore[misc]  # a SpooledTemporaryFile is a binary file
