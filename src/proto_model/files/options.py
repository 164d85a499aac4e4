"""How a file job is to be done, as the parameters of its request say."""

from __future__ import annotations

from typing import Literal

from proto_model.files.formats import FileFormat
from proto_model.parameters import Parameters

__all__ = ["FileOptions", "given_format"]

FileOptions = Parameters


def given_format(parameters: Parameters, name: Literal["input_format", "output_format"]) -> FileFormat | None:
    """Format that a parameter names, None if it names none; raises InputError for an unknown one."""
    text: str = getattr(parameters, name)
    return FileFormat.parse(text, name) if text else None
