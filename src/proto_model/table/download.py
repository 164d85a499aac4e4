"""The file behind an http(s) URL, for as long as it is read."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import urllib3

from proto_model.errors import DataError

__all__ = ["download", "is_url", "shown_url"]

_MAX_FILE_BYTES = 4 * 2**30
_TIMEOUT_S = 600.0
_SILENCE_S = 30.0
_MAX_REDIRECTS = 5
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
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL given (it is malformed)"
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
        with urllib3.PoolManager() as pool:
            try:
                with closing(_answer(pool, url, min(_SILENCE_S, timeout_s))) as response:
                    for chunk in response.stream(2**16, decode_content=True):
                        file.write(chunk)
                        if file.tell() > max_file_bytes:
                            raise DataError(
                                f"{shown} is larger than {max_file_bytes} bytes. Download it first."
                            )
                        if time.monotonic() > deadline:
                            raise DataError(f"{shown} took longer than {timeout_s:g} s. Download it first.")
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                # Without its reason, which quotes the URL with its query.
                raise DataError(
                    f"{shown}: no complete answer ({type(error).__name__}). Is it reachable?"
                ) from None
        file.seek(0)
        yield file  # type: ignore[misc]  # a SpooledTemporaryFile is a binary file


def _answer(pool: urllib3.PoolManager, url: str, timeout_s: float) -> urllib3.BaseHTTPResponse:
    """Answer of status 200, its body still to be read.

    Redirects are followed here and nothing is tried twice: urllib3 would log the URL with its query.
    """
    here = url
    for _ in range(_MAX_REDIRECTS + 1):
        response = pool.request(
            "GET", here, preload_content=False, retries=False, redirect=False, timeout=timeout_s
        )
        location = response.get_redirect_location()
        if not location:
            break
        response.close()
        here = urljoin(here, location)
        if not is_url(here):
            raise DataError(
                f"{shown_url(url)} redirects to what is not http(s). Give the address of the file."
            )
    if response.status != 200:
        response.close()
        raise DataError(
            f"{shown_url(url)} answered {response.status}. Is the address right? Presigned URLs expire."
        )
    return response
