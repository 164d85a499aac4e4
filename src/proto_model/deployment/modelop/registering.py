"""Register a model source: one that was exported becomes its version again, any other runs as it is."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from proto_model.deployment.modelop import template
from proto_model.deployment.modelop.layout import SOURCE
from proto_model.deployment.package.importing import Imported, import_package
from proto_model.deployment.package.layout import MANIFEST
from proto_model.errors import InputError
from proto_model.registry.catalog.naming import Named
from proto_model.registry.model_source import HeldOut, RegisteredSource, register_source
from proto_model.registry.publishing import Trust
from proto_model.sources import Options, Source, SourceError


def is_own(path: Path, attachments: Sequence[Path]) -> bool:
    """Whether a source is what this release exports, over a package of a version; then nothing is run."""
    if len(attachments) != 1 or Source.read(path).content != template.content(SOURCE):
        return False
    try:
        with zipfile.ZipFile(attachments[0]) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def register(
    path: Path,
    attachments: Sequence[Path],
    name: str,
    *,
    options: Options,
    held_out: HeldOut | None = None,
    alias: str = "",
    trust: Trust | None = None,
) -> Imported | RegisteredSource:
    """Register a source under a name.

    Raises SourceError if trust is asked of a source that nobody has published.
    """
    if Named.of(name).is_version:
        raise InputError(f"{name!r} is no name of a model.")
    if is_own(path, attachments):
        return import_package(attachments[0], name=name, alias=alias, trust=trust)
    if trust:
        raise SourceError(
            f"{path.name} is not a source that this release exported, so nobody published what it runs. "
            "Register it without --require-published and --verify-key."
        )
    return register_source(path, attachments, name, options=options, held_out=held_out, alias=alias)
