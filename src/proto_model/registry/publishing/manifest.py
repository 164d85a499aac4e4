"""What was published: the files of a version, and what the registry said of it at that moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proto_model.file_names import names_fault
from proto_model.registry.publishing.files import REGISTERED, Content
from proto_model.registry.publishing.findings import PublicationError

FORMAT = "proto_model.manifest"
FORMAT_VERSION = 1
# Of a run: where its version comes from.
PROVENANCE, STATEMENT_FILE = "provenance", "provenance.intoto.json"
MAX_BYTES = 16 * 1024 * 1024

FACTS = (
    "model_id",
    "run_id",
    "schema_digest",
    "description",
    "tags",
    "config",
    "hyperparameters",
    "metrics",
    "records",
    "data_sets",
    "provenance",
)
"""What the registry says of a version: texts, objects, and lists.

`records` are the data sets that a user names, `data_sets` those that the run read, and `provenance` has the
SHA-256 of each file about it.
"""


@dataclass(frozen=True)
class Manifest:
    """One published version; times are UTC, in ISO 8601."""

    model: str
    version: str
    published_at: str
    published_by: str
    files: Mapping[str, Content]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON; the same manifest gives the same bytes."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": self.model,
            "version": self.version,
            "published_at": self.published_at,
            "published_by": self.published_by,
            **self.facts,
            "files": {name: {"sha256": one.sha256, "bytes": one.n_bytes} for name, one in self.files.items()},
        }
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> Manifest:
        """Manifest of its JSON; PublicationError if it is none."""
        read = read_json(content, "The manifest")
        try:
            if (read.pop("format"), read.pop("format_version")) != (FORMAT, FORMAT_VERSION):
                raise PublicationError(
                    "The manifest is of another format. Use the release that published it."
                )
            files = {
                str(name): Content(one["sha256"], one["bytes"]) for name, one in read.pop("files").items()
            }
            model, version, at, by = map(read.pop, ("model", "version", "published_at", "published_by"))
        except (KeyError, TypeError, AttributeError) as error:
            raise PublicationError("The manifest is incomplete.") from error
        if not all(isinstance(text, str) for text in (model, version, at, by)) or not set(read) <= set(FACTS):
            raise PublicationError("The manifest holds what does not belong there.")
        fault = names_fault(files) or ("" if files else "It lists no files.")
        if fault or REGISTERED in files:
            raise PublicationError(f"The manifest is wrong: {fault or REGISTERED}")
        return cls(model, version, at, by, files, read)


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_part(path: Path) -> bytes:
    """Content of a file, of one that is too long for `read_json` the beginning."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_json(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object in which no name is given twice; PublicationError if it is none."""
    if len(content) > MAX_BYTES:
        raise PublicationError(f"{what} has more than {MAX_BYTES} bytes.")
    try:
        read = json.loads(content, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise PublicationError(f"{what} is no JSON: {error}.") from error
    if not isinstance(read, dict):
        raise PublicationError(f"{what} is no JSON object.")
    return read


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name is given twice")
    return read
