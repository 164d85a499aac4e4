"""What a Content-Type header says."""

from __future__ import annotations

from collections.abc import Sequence

from proto_model.serving.http.errors import MediaTypeError

__all__ = ["JSON", "media_type"]

JSON = "application/json"


def media_type(content_type: str, accepted: Sequence[str]) -> str:
    """Media type of a header, without its parameters.

    Raises
    ------
    MediaTypeError
        If it is none of the accepted ones, or has parameters besides `charset=utf-8`.
    """
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if kind not in accepted:
        shown = f"Content-Type {content_type[:80]!r}" if content_type else "No Content-Type"
        one_of = "one of " if len(accepted) > 1 else ""
        raise MediaTypeError(f"{shown} given, {one_of}{', '.join(accepted)} expected.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name != "charset":
            raise MediaTypeError(
                f"Content-Type parameter {name[:40]!r} given, only charset=utf-8 is understood."
            )
        if value.lower() != "utf-8":
            raise MediaTypeError(f"Charset {value[:40]!r} given, only utf-8 is understood.")
    return kind
