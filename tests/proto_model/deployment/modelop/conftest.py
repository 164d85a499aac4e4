"""A version as a model source."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto_model.deployment.modelop.writing import write_source


@pytest.fixture(scope="session")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an exported source; not to be changed."""
    return write_source(str(model), tmp_path_factory.mktemp("modelop") / "people").path
