"""What kustomize makes of the folders in deploy/, for machines that have no kustomize.

It knows what those kustomizations use, and fails on everything else.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("staging", "production")

ACCESS = KUBERNETES / "components" / "access"

_KNOWN = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "namespace",
    "labels",
    "patches",
    "images",
    "commonAnnotations",
}


def documents(path: Path) -> list[dict[str, Any]]:
    """Resources of a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def rendered(folder: Path, *components: Path) -> list[dict[str, Any]]:
    """Resources of a kustomization, as if it named some further components."""
    kustomization = _kustomization(folder, "Kustomization")
    resources: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        resources += rendered(folder / name) if (folder / name).is_dir() else documents(folder / name)
    resources = copy.deepcopy(resources)
    for component in (*(folder / name for name in kustomization.get("components", [])), *components):
        _apply(_kustomization(component, "Component"), resources)
    _apply(kustomization, resources)
    return resources


def _kustomization(folder: Path, kind: str) -> dict[str, Any]:
    (kustomization,) = documents(folder / "kustomization.yaml")
    assert set(kustomization) <= _KNOWN, set(kustomization) - _KNOWN
    assert kustomization["kind"] == kind
    return kustomization


def _apply(kustomization: dict[str, Any], resources: list[dict[str, Any]]) -> None:
    """What a kustomization or a component changes about resources."""
    for patch in kustomization.get("patches", []):
        found = [resource for resource in resources if _is(resource, patch["target"])]
        assert found, f"nothing is {patch['target']}"
        for resource in found:
            for operation in yaml.safe_load(patch["patch"]):
                _change(resource, **operation)
    for resource in resources:
        _label(resource, kustomization.get("labels", []))
        for place in _described(resource):
            if annotations := kustomization.get("commonAnnotations"):
                place.setdefault("annotations", {}).update(annotations)
        if "namespace" in kustomization and resource["kind"] != "Namespace":
            resource["metadata"]["namespace"] = kustomization["namespace"]
        for container in containers(resource):
            for image in kustomization.get("images", []):
                if container["image"] == image["name"]:
                    end = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
                    container["image"] = image["newName"] + end


def containers(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Containers of a resource, if it has any."""
    spec = resource.get("spec", {})
    found: list[dict[str, Any]] = spec.get("template", {}).get("spec", {}).get("containers", [])
    return found or spec.get("containers", [])


def _is(resource: dict[str, Any], target: dict[str, str]) -> bool:
    return resource["kind"] == target["kind"] and resource["metadata"]["name"] == target.get(
        "name", resource["metadata"]["name"]
    )


def _change(resource: Any, op: str, path: str, value: Any) -> None:
    """One operation of JSON Patch (RFC 6902)."""
    *parents, last = path.removeprefix("/").split("/")
    for key in parents:
        resource = resource[int(key) if isinstance(resource, list) else key]
    if isinstance(resource, list) and last == "-":
        assert op == "add"
        resource.append(value)
        return
    key = int(last) if isinstance(resource, list) else last
    assert op in ("add", "replace")
    if op == "replace":
        resource[key]  # it must be there
    resource[key] = value


def _label(resource: dict[str, Any], labels: list[dict[str, Any]]) -> None:
    for label in labels:
        assert label["includeTemplates"]
        for place in _described(resource):
            place.setdefault("labels", {}).update(label["pairs"])


def _described(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Metadata of a resource and of its pods."""
    template = resource.get("spec", {}).get("template")
    return [resource["metadata"], *([template["metadata"]] if template else [])]
