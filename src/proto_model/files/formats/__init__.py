"""The table of file formats, and which of them a file has: by content, then by name and media type."""

from __future__ import annotations

from proto_model.errors import InputError
from proto_model.files.formats.arrow import ARROW_FILE, ARROW_STREAM
from proto_model.files.formats.base import CODECS, Codec, FileFormat, Format
from proto_model.files.formats.csv import CSV
from proto_model.files.formats.jsonl import JSON_LINES
from proto_model.files.formats.parquet import PARQUET

__all__ = ["FORMATS", "FORMAT_NAMES", "FileFormat", "Format", "codec_of", "find_format"]
__all__ += ["format_of_name", "parse_format"]

#: Every format by its name. A new one is a module beside these with its object, and an entry here.
FORMATS: dict[str, Format] = {f.name: f for f in (CSV, JSON_LINES, ARROW_STREAM, PARQUET, ARROW_FILE)}
FORMAT_NAMES = tuple(name for known in FORMATS.values() for name in known.names)

_EXPECTED = f"expected one of {', '.join(FORMAT_NAMES)}"
_CODECS = CODECS | {"gzip": "gzip"}
_REFUSED = (
    (b"PK\x03\x04", "a zip archive or spreadsheet"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\xfd7zXZ", "an xz file"),
    (b"<", "HTML or XML"),
)


def parse_format(text: str, name: str) -> FileFormat | None:
    """Format that a request's parameter names, None if it names none; InputError lists the known ones.

    Examples
    --------
    >>> str(parse_format("csv.gz", "output_format"))
    'csv.gz'
    """
    if not text:
        return None
    if text not in FORMAT_NAMES:
        raise InputError(f"Unknown {name} {text!r}: {_EXPECTED}.")
    plain, _, suffix = text.partition(".")
    return FileFormat(FORMATS[plain], CODECS.get(suffix))


def format_of_name(file_name: str) -> FileFormat | None:
    """Format that a file's name says it has, None when it says none.

    Examples
    --------
    >>> str(format_of_name("march.ndjson.gz"))
    'jsonl.gz'
    """
    suffixes = file_name.lower().split(".")[1:]
    codec = _CODECS.get(suffixes[-1]) if suffixes else None
    if codec:
        suffixes.pop()
    known = (known for known in FORMATS.values() if suffixes and suffixes[-1] in known.suffixes)
    return next((FileFormat(found, codec) for found in known), None)


def codec_of(head: bytes) -> Codec | None:
    """Compression by a file's first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else None


def find_format(head: bytes, path: str, media_type: str, given: Format | None = None) -> Format:
    """Format of a file, by its first bytes after decompression, its path, and its `Content-Type`.

    Raises InputError if the content is none of the formats, or contradicts the one that the request gives.

    Examples
    --------
    >>> find_format(b'{"age": 3}', "ages.csv", "text/csv").name
    'jsonl'
    """
    found = _by_content(head)
    if given is not None:
        if found is not given and ((found and found.magic) or (given.magic and head)):
            said = found.name if found else "something else"
            raise InputError(f"input_format says {given.name}, but the file is {said}.")
        return given
    if found:
        return found
    named = format_of_name(path.rpartition("/")[2])
    kind = media_type.partition(";")[0].strip().lower()
    if named:
        return named.format
    for known in FORMATS.values():
        if kind in known.media_types:
            return known
    if head.strip():
        return CSV  # a file of one column has no commas
    raise InputError("The file is empty and its name does not say its format. Set input_format.")


def _by_content(head: bytes) -> Format | None:
    for known in FORMATS.values():
        # A magic of letters could also be the name of a text file's first column, but no text has zero bytes.
        if known.magic and head.startswith(known.magic) and (b"\0" in head or not known.magic.isalnum()):
            return known
    for magic, what in _REFUSED:
        if head.startswith(magic):
            raise InputError(f"The file is {what}: {_EXPECTED}.")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        raise InputError("The file is a JSON array. Write JSON Lines: one object per line.")
    # Elsewhere, a NUL is as likely to be damage; the reader of the text says where it stands.
    if b"\0" in text.partition(b"\n")[0] and not text.startswith(b"{"):
        raise InputError(f"The file is neither text nor of a known format: {_EXPECTED}.")
    return next((known for known in FORMATS.values() if known.begins(text)), None)
