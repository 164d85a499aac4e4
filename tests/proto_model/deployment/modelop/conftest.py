"""A version as a model source, and a store to register sources in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proto_model.deployment.modelop.writing import write_source
from tests.stores import fresh_store
from tests.trainings import as_in


@pytest.fixture(scope="session")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an exported source; not to be changed."""
    return write_source(str(model), tmp_path_factory.mktemp("modelop") / "people").path


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """MLflow on a SQLite file of its own, in a working folder of its own."""
    folder = tmp_path_factory.mktemp("store")
    with as_in(folder, fresh_store(folder)):
        yield folder
