"""MLflow's scoring protocol: the bodies of `/invocations`, for rows and for files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from proto_model.serving.http.errors import MediaTypeError, too_many_rows
from proto_model.serving.http.forms import Forms, parsed
from proto_model.serving.http.payload import JSON, Payload, Question


class Invocations:
    """Reads and writes the bodies of `/invocations` of one model."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._forms = Forms(payload.reader, payload.max_rows)

    def read(self, body: bytes, content_type: str) -> Question:
        """Question of a body; raises MediaTypeError, LengthError or InputError."""
        payload = self._payload
        kind = JSON if content_type == JSON else media_type(content_type, payload.media_types)
        if kind == JSON:
            content = parsed(body)
            question = payload.question(self._forms.read(content), content.get("params"))
        else:
            question = payload.question(payload.read(body, kind), None)
        if len(question.rows) > payload.max_rows:
            raise too_many_rows(len(question.rows), payload.max_rows)
        return question

    def write(self, answer: Any) -> bytes:
        """Body of an answer."""
        return orjson.dumps({"predictions": self._payload.records(answer)})


def media_type(content_type: str, accepted: Sequence[str]) -> str:
    """Media type of a Content-Type header; `charset=utf-8` is the only parameter that is understood."""
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
