"""What a version says of each of its formats: a tag per format, `format.<name>`, a JSON object.

Tags of a published version are in its manifest, so the SHA-256 in them are signed with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from proto_model.formats.verdict import Verdict

PREFIX = "format."


@dataclass(frozen=True)
class FormatRecord:
    """One format of a version.

    It is kept below `path` of the run's artifacts, or as the logged model `model_id`, which MLflow serves.
    `sha256` and `bytes` are those of `file`; `files` has the SHA-256 of all files of a logged model. A file
    from elsewhere has no verdict.
    """

    name: str
    kind: str
    file: str
    sha256: str
    bytes: int
    made_at: str
    made_by: str
    run_id: str = ""
    path: str = ""
    model_id: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None

    @property
    def uri(self) -> str:
        """Where MLflow finds it."""
        return f"models:/{self.model_id}" if self.model_id else f"runs:/{self.run_id}/{self.path}/{self.file}"

    @property
    def verified(self) -> str:
        """How it was verified, in words."""
        return "not verified" if self.verdict is None else self.verdict.sentence

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self) | {"files": dict(self.files), "uri": self.uri}

    def to_tag(self) -> tuple[str, str]:
        """Key and value of the tag."""
        content = {key: value for key, value in asdict(self).items() if value and key != "name"}
        return f"{PREFIX}{self.name}", json.dumps(content | {"bytes": self.bytes}, ensure_ascii=False)


def formats_of(tags: Mapping[str, str]) -> list[FormatRecord]:
    """Formats among the tags of a version, by name; what is none is left out."""
    found = []
    for key, value in sorted(tags.items()):
        if key.startswith(PREFIX):
            try:
                content = json.loads(value)
                verdict = content.pop("verdict", None)
                whole = None if verdict is None else Verdict(**verdict)
                found.append(FormatRecord(key.removeprefix(PREFIX), **content, verdict=whole))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue
    return found
