"""Where images go: a registry, or a folder in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = "oci:"


@dataclass(frozen=True)
class Place:
    """`registry.example.com/team`, or `oci:FOLDER` for an OCI layout per image in a folder."""

    registry: str

    def name(self, image: str) -> str:
        """Name of an image, as a manifest has it."""
        if self.registry.startswith(_FOLDER):
            return f"{Path(self.registry.removeprefix(_FOLDER)).name}/{image}"
        return f"{self.registry.removeprefix('docker://').rstrip('/')}/{image}"

    def reference(self, image: str, version: str) -> str:
        """Where an image is pushed to; its tag is the version of the model."""
        if self.registry.startswith(_FOLDER):
            folder = Path(self.registry.removeprefix(_FOLDER))
            folder.mkdir(parents=True, exist_ok=True)
            return f"{_FOLDER}{folder / image}:{version}"
        return f"{self.name(image)}:{version}"
