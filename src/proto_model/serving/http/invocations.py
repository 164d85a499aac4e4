"""MLflow's scoring protocol: the bodies of `/invocations`, for rows and for files."""

from __future__ import annotations

from typing import Any

import orjson

from proto_model.serving.http.body import media_type
from proto_model.serving.http.errors import too_many_rows
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
        kind = media_type(content_type, payload.media_types)
        if kind == JSON:
            content = parsed(body, payload.max_rows)
            question = payload.question(self._forms.read(content), content.get("params"))
        else:
            question = payload.question(payload.read(body, kind), None)
        if len(question.rows) > payload.max_rows:
            raise too_many_rows(len(question.rows), payload.max_rows)
        return question

    def write(self, answer: Any) -> bytes:
        """Body of an answer."""
        return orjson.dumps({"predictions": self._payload.records(answer)})
