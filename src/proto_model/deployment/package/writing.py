"""Write the package of a version: everything aside, then in place at once."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from proto_model.deployment.package import template
from proto_model.deployment.package.archive import write_zip
from proto_model.deployment.package.digests import manifest_text
from proto_model.deployment.package.errors import NoPackageError, PackageError
from proto_model.deployment.package.example import cell, write_example
from proto_model.deployment.package.gathering import Gathered, gathered
from proto_model.deployment.package.layout import (
    ARTIFACTS,
    EXAMPLE,
    INTERFACE,
    MANIFEST,
    METADATA,
    MODEL,
    MODEL_BUNDLE,
    README,
    REQUIREMENTS,
    SETUP,
    VERSION,
)
from proto_model.deployment.package.metadata import metadata_text
from proto_model.deployment.package.model import PackagedModel
from proto_model.deployment.package.readme import readme_text
from proto_model.deployment.package.wheel import needed, write_wheel
from proto_model.invocation.rows import spread_records
from proto_model.model import Bundle
from proto_model.registry.publishing import Trust
from proto_model.registry.publishing.files import CACHES, REGISTERED, contents, walked
from proto_model.registry.publishing.findings import check

N_ROWS = 20


@dataclass(frozen=True)
class Written:
    """A package that was written; `digest` is the SHA-256 of its manifest."""

    path: Path
    title: str
    n_files: int
    n_bytes: int
    published: bool
    digest: str


def write_package(model_uri: str, out: Path, *, as_zip: bool = False, trust: Trust | None = None) -> Written:
    """Write the package of a version into a new folder, or as one zip file.

    Parameters
    ----------
    model_uri : str
        A version, such as models:/proto_model@champion, or a model's folder.
    out : Path
        A folder that is new or empty. As a zip file, `.zip` is added to its name unless it ends so.
    as_zip : bool
        Write the file instead of the folder.
    trust : Trust, optional
        What is asked of the version. A published one has to be what was published in any case.

    Raises
    ------
    PackageError
        If there is something already, or this project is not installed.
    ProtoModelError
        If there is no such version, or it cannot be trusted.
    """
    place = out if not as_zip or out.suffix == ".zip" else out.with_name(f"{out.name}.zip")
    if place.is_dir() and not as_zip:
        taken = any(place.iterdir())
    else:
        taken = place.exists()
    if taken:
        raise NoPackageError(f"{place} is there already. Remove it, or give another name.")
    place.parent.mkdir(parents=True, exist_ok=True)
    with (
        gathered(model_uri, trust or Trust()) as version_,
        tempfile.TemporaryDirectory(prefix=".proto_model-", dir=place.parent) as aside,
    ):
        folder = Path(aside, "package")
        folder.mkdir()
        check(model_uri, contents(version_.folder)[1])
        digest = _fill(folder, version_)
        files = dict(walked(folder))
        if as_zip:
            packed = Path(aside, "package.zip")
            write_zip(packed, files)
            packed.replace(place)
            n_bytes = place.stat().st_size
        else:
            n_bytes = sum(path.stat().st_size for path in files.values())
            folder.replace(place)
    return Written(place, version_.facts.title, len(files), n_bytes, version_.is_published, digest)


def _fill(folder: Path, version_: Gathered) -> str:
    """Write the files of a package; the SHA-256 of its manifest."""
    for name, path in walked(version_.folder):
        if name != REGISTERED and CACHES not in name.split("/"):
            target = folder / MODEL / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name, content in version_.files.items():
        _put(folder, name, content)
    _put(folder, VERSION, version_.facts.to_bytes())
    wheel = write_wheel(folder / ARTIFACTS)
    pins = [f"{name}=={_installed(name)}" for name in needed()]
    _put(folder, REQUIREMENTS, requirements_text(wheel.name, pins).encode())
    for name in (INTERFACE, SETUP):
        _put(folder, name, template.content(name))
    (folder / SETUP).chmod(0o755)
    bundle = Bundle.load(folder / MODEL_BUNDLE)
    rows = example_rows(bundle)
    write_example(folder / EXAMPLE, rows, PackagedModel(bundle), bundle.schema)
    _put(folder, METADATA, metadata_text(version_.facts, bundle.schema).encode())
    first = [cell(value) for value in rows[0]]
    _put(folder, README, readme_text(version_.facts, bundle.schema, first).encode())
    text = manifest_text({name: one.sha256 for name, one in contents(folder)[0].items()}).encode()
    _put(folder, MANIFEST, text)
    return hashlib.sha256(text).hexdigest()


def requirements_text(wheel: str, pins: Sequence[str]) -> str:
    """Text of `requirements.txt`."""
    lines = [
        f"# `sh {SETUP}` installs these; so does pip, in this folder.",
        f"./{ARTIFACTS}/{wheel}",
        *sorted(pins),
    ]
    return "\n".join(lines) + "\n"


def _put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise PackageError(
            f"Which version of {name} goes with the package? It is not installed here."
        ) from error


def example_rows(bundle: Bundle, n_rows: int = N_ROWS) -> list[list[Any]]:
    """Rows that are nobody's, with every class among their predictions if the background has it.

    They are of the synthetic background; where a version holds training rows instead, they are made from the
    ranges of its columns.
    """
    from proto_model.registry.logged_model import sent_rows

    schema = bundle.schema
    if bundle.background_kind == "rows":
        return [[record[name] for name in schema.feature_names] for record in spread_records(schema, n_rows)]
    matrix = bundle.background
    predicted = bundle.decide(bundle.predict_proba(matrix))
    first = [int(np.flatnonzero(predicted == label)[0]) for label in np.unique(predicted)][: n_rows - 1]
    incomplete = np.flatnonzero(np.isnan(matrix).any(axis=1))[:1].tolist()
    spread = np.linspace(0, len(matrix) - 1, n_rows).astype(np.int64).tolist()
    chosen = list(dict.fromkeys([*first, *incomplete, *spread]))[:n_rows]
    frame = sent_rows(matrix[chosen], schema)
    return [list(row) for row in frame.astype(object).itertuples(index=False, name=None)]
