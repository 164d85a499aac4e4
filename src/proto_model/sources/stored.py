"""A source in the folder of a version: code, attachments and schemas as they were given, and what they are.

| name              | holds                                                              |
|-------------------|--------------------------------------------------------------------|
| `source.json`     | name, identity, attachments in order, and how it is to be run      |
| `code/`           | the source, and its schemas beside it                              |
| `attachments/`    | the attachments                                                    |
| `schema.json`     | what rows and classes are, as the schemas of this project's models |
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.errors import ArtifactError
from proto_model.file_names import name_fault
from proto_model.sources.errors import SourceError
from proto_model.sources.limits import Limits
from proto_model.sources.session import Options, SourceModel
from proto_model.sources.source import Source

FACTS = "source.json"
SCHEMA = "schema.json"
ALLOWED = "PROTO_MODEL_SOURCES"
"""Environment variable with the whole identities of sources that may run here, between commas or spaces."""

_CODE, _ATTACHMENTS = "code", "attachments"


class NotAllowedError(ArtifactError):
    """A version would run somebody's source, and nobody has said that it may."""


@dataclass(frozen=True)
class StoredSource:
    """A source that was read from the folder of a version."""

    source: Source
    attachments: tuple[Path, ...]
    digest: str
    options: Options

    @classmethod
    def read(cls, folder: Path) -> StoredSource:
        """Source of a folder that `store` wrote; an ArtifactError says that it is none. Nothing is run."""
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            names = [facts["name"], *facts["attachments"]]
            if not all(isinstance(name, str) and not name_fault(name) and "/" not in name for name in names):
                raise ValueError("a name leads out of it")
            limits = Limits(timeout_s=float(facts["timeout_s"]), memory_mb=int(facts["memory_mb"]))
            options = Options(limits, schema_check=bool(facts["schema_check"]))
            return cls(
                Source.read(folder / _CODE / facts["name"]),
                tuple(folder / _ATTACHMENTS / name for name in facts["attachments"]),
                str(facts["digest"]),
                options,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{folder / FACTS} cannot be read: {error}. Download the whole model."
            ) from error

    def check(self, model: SourceModel) -> None:
        """Raise ArtifactError unless an unpacked source is the one that was registered."""
        if model.digest != self.digest:
            raise ArtifactError(
                f"The source {self.source.name} is model {model.digest}, model {self.digest} was registered. "
                "Somebody changed its files: get the version again."
            )


def store(folder: Path, model: SourceModel, attachments: Sequence[Path], options: Options) -> None:
    """Write a source into a new folder, to be run from there with the same limits."""
    if len({path.name for path in attachments}) < len(attachments):
        raise SourceError("Two attachments have the same name. Rename one of them.")
    (folder / _CODE).mkdir(parents=True)
    (folder / _ATTACHMENTS).mkdir()
    (folder / _CODE / model.source.name).write_bytes(model.source.content)
    for schema in model.schemas.values():
        if schema.name not in model.files:
            (folder / _CODE / schema.name).write_bytes(schema.content)
    for path in attachments:
        shutil.copyfile(path, folder / _ATTACHMENTS / path.name)
    facts: dict[str, Any] = {
        "name": model.source.name,
        "digest": model.digest,
        "attachments": [path.name for path in attachments],
        "timeout_s": options.limits.timeout_s,
        "memory_mb": options.limits.memory_mb,
        "schema_check": options.schema_check,
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def check_allowed(digest: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raise NotAllowedError unless the environment says that a source may run here."""
    # The beginning of a digest would not do: somebody could look for a source of their own that has it, too.
    if digest in environment.get(ALLOWED, "").replace(",", " ").lower().split():
        return
    raise NotAllowedError(
        f"This version runs somebody's own code (model source {digest[:16]}), which this project does not "
        f"vouch for. If you trust it, allow it with: export {ALLOWED}={digest}"
    )
