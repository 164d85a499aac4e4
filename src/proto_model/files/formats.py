"""Which format a file has: by its first bytes, then by its name and type, or as the caller says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from proto_model.errors import InputError

__all__ = ["FORMATS", "Codec", "FileFormat", "Layout", "codec_of", "find_layout"]

Layout = Literal["csv", "jsonl", "parquet", "arrow", "arrows"]
Codec = Literal["gzip", "zstd"]

_MEDIA_TYPES: dict[Layout, str] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "arrows": "application/vnd.apache.arrow.stream",
}
_SUFFIXES: dict[Codec, str] = {"gzip": ".gz", "zstd": ".zst"}
_MAGIC: tuple[tuple[bytes, Layout], ...] = (
    (b"ARROW1\0\0", "arrow"),
    (b"\xff\xff\xff\xff", "arrows"),
)
_REFUSED = (
    (b"PK\x03\x04", "a zip archive or spreadsheet"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\xfd7zXZ", "an xz file"),
    (b"<", "HTML or XML"),
)
_NAMES: dict[str, Layout] = {
    "csv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "arrows": "arrows",
}
FORMATS = (
    *(f"{layout}{suffix}" for layout in ("csv", "jsonl", "arrows") for suffix in ("", ".gz", ".zst")),
    *("parquet", "arrow"),
)


@dataclass(frozen=True)
class FileFormat:
    """Layout of the rows and, around it, a compression.

    Parameters
    ----------
    layout : {"csv", "jsonl", "parquet", "arrow", "arrows"}
        CSV, JSON Lines, Parquet, Arrow IPC file and Arrow IPC stream.
    codec : {"gzip", "zstd"} or None
        Compression of the whole file.

    Examples
    --------
    >>> FileFormat.parse("csv.gz", "output_format")
    FileFormat(layout='csv', codec='gzip')
    >>> str(FileFormat("jsonl", "zstd"))
    'jsonl.zst'
    """

    layout: Layout
    codec: Codec | None = None

    def __str__(self) -> str:
        """Name as in requests: `csv`, `csv.gz`."""
        return self.layout + (_SUFFIXES[self.codec] if self.codec else "")

    @property
    def media_type(self) -> str:
        """Value for a signed `Content-Type`."""
        if self.codec:
            return f"application/{self.codec}"
        return _MEDIA_TYPES[self.layout]

    @classmethod
    def parse(cls, text: str, name: str) -> FileFormat:
        """Format from its name; raises InputError listing the accepted ones."""
        if text not in FORMATS:
            raise InputError(f"{name}={text!r} given, one of {', '.join(FORMATS)} expected.")
        layout, _, suffix = text.partition(".")
        codecs: dict[str, Codec] = {"gz": "gzip", "zst": "zstd"}
        return cls(_NAMES[layout], codecs.get(suffix))

    @classmethod
    def of_name(cls, name: str) -> FileFormat | None:
        """Format that a file's name says it has, None when it says none.

        Examples
        --------
        >>> str(FileFormat.of_name("march.ndjson.gz"))
        'jsonl.gz'
        """
        codecs: dict[str, Codec] = {"gz": "gzip", "gzip": "gzip", "zst": "zstd"}
        parts = name.lower().split(".")[1:]
        codec = codecs.get(parts[-1]) if parts else None
        layout = _NAMES.get(parts[-2 if codec and len(parts) > 1 else -1]) if parts else None
        return cls(layout, codec) if layout else None


def codec_of(head: bytes) -> Codec | None:
    """Compression by a file's first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    return None


def find_layout(head: bytes, path: str, media_type: str, given: Layout | None = None) -> Layout:
    """Layout of a file, after decompression.

    Parameters
    ----------
    head : bytes
        Its first bytes; none when the file is empty.
    path : str
        Its name or the path of its URL.
    media_type : str
        `Content-Type` of the answer that brought it, or nothing.
    given : {"csv", "jsonl", "parquet", "arrow", "arrows"} or None
        What the caller says.

    Raises
    ------
    InputError
        If the content is none of the layouts, or contradicts the one that is given.

    Examples
    --------
    >>> find_layout(b'{"age": 3}', "ages.csv", "text/csv")
    'jsonl'
    """
    found = _by_content(head)
    if given is not None:
        binary = ("parquet", "arrow", "arrows")
        if found != given and (found in binary or (given in binary and head)):
            raise InputError(f"input_format says {given}, but the file is {found or 'something else'}.")
        return given
    named = FileFormat.of_name(path.rpartition("/")[2])
    return found or (named.layout if named else None) or _by_media_type(media_type) or _unknown(head)


def _by_content(head: bytes) -> Layout | None:
    for magic, layout in _MAGIC:
        if head.startswith(magic):
            return layout
    for magic, what in _REFUSED:
        if head.startswith(magic):
            raise InputError(f"The file is {what}; one of {', '.join(FORMATS)} expected.")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        raise InputError("The file is a JSON array; JSON Lines, one object a line, expected.")
    if text.startswith(b"{"):
        return "jsonl"
    if b"\0" in head:
        if head.startswith(b"PAR1"):  # without a zero byte it could be the name of a CSV file's first column
            return "parquet"
        raise InputError(
            f"The file is not text and not of a known kind; one of {', '.join(FORMATS)} expected."
        )
    return "csv" if text and b"," in text.split(b"\n")[0] else None


def _by_media_type(media_type: str) -> Layout | None:
    kind = media_type.partition(";")[0].strip().lower()
    if re.fullmatch(r"application/(x-)?(ndjson|jsonl|jsonlines)", kind):
        return "jsonl"
    return next((layout for layout, known in _MEDIA_TYPES.items() if known == kind), None)


def _unknown(head: bytes) -> Layout:
    if head.strip():
        return "csv"  # text of one column
    raise InputError("The file is empty and its name does not say what it should be; give input_format.")
