"""A package, of which tests that change something take a copy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proto_model.deployment.package.digests import manifest_text
from proto_model.deployment.package.writing import write_package
from proto_model.registry.publishing.keys import SigningKey
from tests.proto_model.registry.publishing.conftest import published


@pytest.fixture(scope="session")
def package(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a package; not to be changed."""
    return write_package(str(model), tmp_path_factory.mktemp("packages") / "people").path


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own."""
    return Path(shutil.copytree(package, tmp_path / "copy"))


def as_published(model: Path, folder: Path, key: SigningKey) -> Path:
    """Copy of a model's folder as version 3 of churn, with its publication beside it."""
    shutil.copytree(model, folder)
    (folder / "registered_model_meta").unlink()  # MLflow writes one with each download
    publication = published(folder, key)
    (folder / "registered_model_meta").write_text("model_name: churn\nmodel_version: '3'\n")
    beside = folder.with_name(f"{folder.name}.publication")
    beside.mkdir()
    (beside / "manifest.json").write_bytes(publication.manifest)
    (beside / "signature.sigstore.json").write_bytes(publication.signature)
    return folder


@pytest.fixture
def resealed() -> Callable[[Path], Path]:
    """Function that writes the manifest of a package anew, as whoever changes one would."""

    def reseal(folder: Path) -> Path:
        names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        del names["MANIFEST.sha256"]
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()}
        (folder / "MANIFEST.sha256").write_text(manifest_text(digests))
        return folder

    return reseal
