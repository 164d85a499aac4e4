"""An application's own mapping, on its way into the versions of a training run.

The mapper reads mappings, and this side shares no code with it. So the mapper's own program checks one, in a
process of its own, and writes what belongs into a version.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mlflow import MlflowClient

from proto_model.errors import DataError
from proto_model.registry.settings import TrainingSettings
from proto_model.schema import ModelSchema

TIMEOUT_S = 120
_NOT_INSTALLED = (
    "The mapper checks mappings, and it is not installed here. Install it (pip install ./mapper), or train "
    "without --mapping."
)


def located_mapping(source: str, folders: Sequence[Path]) -> str:
    """A relative path made absolute; `:Class` after it stays. A DataError says that there is no such file."""
    path, colon, name = source.rpartition(":") if ".py:" in source else (source, "", "")
    for folder in folders:
        found = (folder / Path(path).expanduser()).absolute()
        if found.is_file():
            return f"{found}{colon}{name}"
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(f"No mapping {path} in {looked}. Check the path, or give an absolute one.")


def checked_mapping(settings: TrainingSettings, schema: ModelSchema, folder: Path) -> Path | None:
    """Folder of the mapping that the settings name, if they do, once the mapper has accepted it.

    A DataError says what is wrong with it.
    """
    if not settings.mapping:
        return None
    if settings.file_management:
        raise DataError(
            "A mapping does not apply to files. Train without --mapping, or with file_management=false."
        )
    if find_spec("mapper") is None:
        raise DataError(_NOT_INSTALLED)
    with tempfile.TemporaryDirectory() as temporary:
        described = Path(temporary) / "schema.json"
        schema.write(described)
        command = [sys.executable, "-m", "mapper", "mapping", "check", settings.mapping]
        command += ["--schema", str(described), "--out", str(folder / "mapper")]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"The mapper did not check {settings.mapping} in {TIMEOUT_S} s.") from error
    if done.returncode != 0:
        reason = done.stderr.strip().removeprefix("mapper: ") or f"the mapper ended with {done.returncode}"
        raise DataError(f"{settings.mapping} does not fit the model: {reason}")
    return folder


def attach_mapping(model_id: str, folder: Path) -> None:
    """Put a checked mapping beside the schema in the `mapper/` of a logged model."""
    MlflowClient().log_model_artifacts(model_id, str(folder))
