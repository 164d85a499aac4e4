"""The libraries that write and run other formats; none of them is needed to train or to serve."""

from __future__ import annotations

import importlib
from typing import Any

from proto_model.errors import ArtifactError


def library(name: str, format_name: str) -> Any:
    """A module of the extra `formats`; an ArtifactError says what to install."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise ArtifactError(
            f"The format {format_name} needs {error.name}, which is not installed. "
            'Install it with: pip install "proto-model-turbo[formats]"'
        ) from error
