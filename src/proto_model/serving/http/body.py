"""Bodies as they were before they were sent: their type, and what compresses them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from proto_model.errors import InputError
from proto_model.serving.http.errors import EncodingError, LengthError, MediaTypeError

ENCODINGS = ("gzip", "deflate")

_UTF_8 = ("utf-8", "utf8", "us-ascii")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # whichever its first bytes say


def media_type(content_type: str, accepted: Sequence[str]) -> str:
    """Media type of a Content-Type header; UTF-8 as `charset` is the only parameter that is understood.

    A request without the header is refused, too: browsers send such requests, and those with `text/plain`, to
    other sites without asking these first.
    """
    if content_type in accepted:
        return content_type
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    kind = kind.lower()
    if kind not in accepted:
        shown = f"Content-Type {content_type[:80]!r}" if content_type else "No Content-Type"
        one_of = "one of " if len(accepted) > 1 else ""
        raise MediaTypeError(f"{shown} given, {one_of}{', '.join(accepted)} expected.")
    for parameter in filter(None, parameters):
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name.lower() != "charset":
            raise MediaTypeError(
                f"Content-Type parameter {name[:40]!r} given, only charset=utf-8 is understood."
            )
        if value.strip('"').lower() not in _UTF_8:
            raise MediaTypeError(f"Charset {value[:40]!r} given, only utf-8 is understood.")
    return kind


def decoded(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Body as it was before compression.

    Raises EncodingError for an encoding that is not known, InputError for a damaged body, and LengthError for
    one of more than `max_bytes`, of which no more is unpacked.
    """
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise EncodingError(
            f"Content-Encoding {content_encoding[:80]!r} given, {', '.join(ENCODINGS)} or none expected."
        )
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InputError(
            f"The body is damaged, or not {encoding} as its Content-Encoding says. "
            "Compress it, or leave the header out."
        ) from error
    if len(content) > max_bytes:
        raise LengthError(
            f"The body is larger than {max_bytes} bytes when decompressed. Send several smaller requests."
        )
    if not decompressor.eof or decompressor.unused_data:
        raise InputError(
            f"The body, {encoding} by its Content-Encoding, breaks off, or more follows it. Send it again."
        )
    return content
