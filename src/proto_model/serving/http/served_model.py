"""A logged model as a server holds it: its predictor, and what its folder tells besides."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.errors import ArtifactError
from proto_model.model import Bundle, Predictor
from proto_model.model.kinds import Prepared
from proto_model.parameters import FILE
from proto_model.registry.model_folder import BUNDLE, SOURCE, signature_of
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from proto_model.files.transfer import FileSettings


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model and where it comes from."""

    predictor: Predictor
    version: str | None = None  # in the registry, when it is known
    mlflow_version: str = ""  # of the MLflow that logged it
    files: FileSettings | None = None  # for a model for files

    @property
    def schema(self) -> ModelSchema:
        """Features and classes."""
        return self.predictor.schema

    @classmethod
    def load(
        cls,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        prepared: Prepared | None = None,
    ) -> ServedModel:
        """Model of the folder of a logged one; `PROTO_MODEL_FILES_*` are settings of one for files.

        `prepared` is the model's engine, if it was prepared.

        Raises
        ------
        ArtifactError
            If it is not one of this package's models, or damaged.
        SettingsError
            If a setting is not known, or has a wrong value.
        """
        if (folder / SOURCE).is_dir():
            raise ArtifactError(
                f"{folder} is a model source, which runs code of its own. Serve it with `mlflow models "
                "serve`, or from its files with: python -m proto_model source serve"
            )
        if not (folder / BUNDLE / "schema.json").is_file():
            raise ArtifactError(
                f"{folder} holds no {BUNDLE / 'schema.json'}: not a model of proto_model. Give the folder or "
                "the URI of one, such as models:/proto_model@champion."
            )
        signature = signature_of(folder)
        files = None
        if signature == FILE:
            from proto_model.files.transfer import FileSettings

            files = FileSettings.from_environment(environment)
        bundle = Bundle.load(folder / BUNDLE, prepared)
        _give_back_memory()
        return cls(
            Predictor(bundle, signature),
            version=_line(folder / "registered_model_meta", "model_version"),
            mlflow_version=_line(folder / "MLmodel", "mlflow_version") or "",
            files=files,
        )


def _give_back_memory() -> None:
    """Let the system have what reading a model took: glibc would keep more than the model itself."""
    if os.name == "posix" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _line(path: Path, key: str) -> str | None:
    """Value of a key at the left margin of a YAML file; PyYAML would cost more than the rest of the start."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, colon, value = line.partition(":")
            if name == key and colon:
                text = value.strip().strip("'\"")
                return None if text == "null" else text
    return None
