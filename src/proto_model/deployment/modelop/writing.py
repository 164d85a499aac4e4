"""Write a version as a model source: everything aside, then in place at once."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from proto_model.deployment.modelop import template
from proto_model.deployment.modelop.layout import (
    ATTACHMENT,
    INPUT_SCHEMA,
    OUTPUT_SCHEMA,
    README,
    REQUIREMENTS,
    SOURCE,
)
from proto_model.deployment.modelop.readme import readme_text
from proto_model.deployment.modelop.schemas import input_schema, output_schema, schema_text
from proto_model.deployment.package import layout
from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.wheel import WHEEL
from proto_model.deployment.package.writing import write_package
from proto_model.registry.publishing import Trust
from proto_model.schema import ModelSchema


@dataclass(frozen=True)
class WrittenSource:
    """A source that was written; `digest` is the SHA-256 of its attachment."""

    path: Path
    title: str
    n_files: int
    n_bytes: int
    digest: str


def write_source(model_uri: str, out: Path, *, trust: Trust | None = None) -> WrittenSource:
    """Write a version as a model source into a folder that is new or empty; the same version, the same bytes.

    Its attachment is a package of the version, so that another registry gets it whole again. Raises
    PackageError if the folder is not empty, and a ProtoModelError if there is no such version, or it cannot
    be trusted.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PackageError(f"{out} is there already. Remove it, or give another name.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".proto_model-", dir=out.parent) as aside:
        folder = Path(aside, "source")
        folder.mkdir()
        package = write_package(model_uri, folder / ATTACHMENT, as_zip=True, trust=trust)
        with zipfile.ZipFile(package.path) as archive:
            schema_file = Path(aside, "schema.json")
            schema_file.write_bytes(archive.read(f"{layout.MODEL_BUNDLE}/schema.json"))
            requirements = archive.read(layout.REQUIREMENTS)
            wheel = archive.read(f"{layout.ARTIFACTS}/{WHEEL}")
        schema = ModelSchema.read(schema_file)
        (folder / layout.ARTIFACTS).mkdir()
        files = {
            SOURCE: template.content(SOURCE),
            INPUT_SCHEMA: schema_text(input_schema(schema)),
            OUTPUT_SCHEMA: schema_text(output_schema(schema)),
            REQUIREMENTS: b"\n".join(line for line in requirements.splitlines() if line[:1] != b"#") + b"\n",
            README: readme_text(package.title, schema).encode(),
            f"{layout.ARTIFACTS}/{WHEEL}": wheel,
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        digest = hashlib.sha256(package.path.read_bytes()).hexdigest()
        folder.replace(out)
    return WrittenSource(out, package.title, len(files) + 1, n_bytes, digest)
