"""What is in an image, as a CycloneDX 1.6 document: Debian's packages, Python's, and the model.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from proto_model import __version__
from proto_model.deployment.image.recipe import Recipe

_STATUS = Path("var/lib/dpkg/status")


def bill_of_materials(recipe: Recipe, root: Path, libraries: Path, model: Path, release: str) -> str:
    """JSON text of the document; the same content gives the same text."""
    title = f"{recipe.schema.model_name} {recipe.version or ''}".strip()
    components = [*_debian(root, release), *_python(libraries), _model(recipe, model)]
    components.sort(key=lambda component: component["bom-ref"])
    essence = json.dumps([title, recipe.server, components], sort_keys=True)
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, essence)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": f"{title} ({recipe.server})",
                "version": recipe.version or "0",
            },
            "tools": {
                "components": [
                    {"type": "application", "name": "proto-model-turbo", "version": __version__},
                ]
            },
        },
        "components": components,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _debian(root: Path, release: str) -> Iterator[dict[str, Any]]:
    parser = HeaderParser()
    for paragraph in (root / _STATUS).read_text(encoding="utf-8").split("\n\n"):
        fields = parser.parsestr(paragraph)
        if fields["Package"]:
            yield _component(
                fields["Package"],
                fields["Version"],
                f"pkg:deb/debian/{fields['Package']}@{fields['Version']}"
                f"?arch={fields['Architecture']}&distro={release}",
            )


def _python(libraries: Path) -> Iterator[dict[str, Any]]:
    parser = HeaderParser()
    for path in libraries.glob("*.dist-info/METADATA"):
        fields = parser.parsestr(path.read_text(encoding="utf-8").partition("\n\n")[0])
        name = fields["Name"].lower().replace("_", "-")
        component = _component(fields["Name"], fields["Version"], f"pkg:pypi/{name}@{fields['Version']}")
        licence = fields["License-Expression"]
        yield component | ({"licenses": [{"expression": licence}]} if licence else {})


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _model(recipe: Recipe, folder: Path) -> dict[str, Any]:
    properties: Mapping[str, str] = {
        "proto_model:run_id": recipe.run_id,
        "proto_model:schema_digest": recipe.schema.digest,
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": recipe.schema.model_name,
        "version": recipe.version or "0",
        "hashes": [{"alg": "SHA-256", "content": folder_digest(folder)}],
        "properties": [{"name": name, "value": value} for name, value in properties.items() if value],
    }


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and the SHA-256 of all files of a folder, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        own = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{own}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()
