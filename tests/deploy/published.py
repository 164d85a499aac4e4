"""Checkers and schemas that others publish on PyPI, unpacked once; tests skip without network."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VENVS = Path(__file__).resolve().parents[2] / "build" / "venvs"
KUBERNETES_VALIDATE = "kubernetes-validate==1.37.0"
KSERVE = "kserve==0.21.0"
COMPOSE = "docker-compose==1.29.2"  # the last one in Python: it brings the specification's JSON Schema


def kubernetes_validate() -> Path:
    """The command, in an environment of its own."""
    folder = VENVS / KUBERNETES_VALIDATE.replace("==", "-")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        _pip(folder / "bin" / "python", "install", KUBERNETES_VALIDATE)
        (folder / "complete").touch()
    return folder / "bin" / "kubernetes-validate"


def compose_schema() -> dict[str, Any]:
    """JSON Schema of the compose specification."""
    path = _unpacked(COMPOSE) / "compose" / "config" / "compose_spec.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def kserve_faults(value: Any, kind: str, place: str = "") -> list[str]:
    """Where a value does not fit a type of KServe's OpenAPI, which its Python package is generated from.

    Types of Kubernetes itself are taken as they are.
    """
    name, _, inner = kind.partition("(") if kind.startswith("dict(") else kind.partition("[")
    if name in ("list", "dict"):
        inner = inner[:-1].split(",")[-1].strip()
        if not isinstance(value, list if name == "list" else dict):
            return [f"{place}: {kind} expected"]
        items = enumerate(value) if isinstance(value, list) else value.items()
        return [fault for key, item in items for fault in kserve_faults(item, inner, f"{place}/{key}")]
    plain = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    if kind in plain:
        return [] if isinstance(value, plain[kind]) else [f"{place}: {kind} expected"]
    fields = _kserve_types().get(kind)
    if fields is None:
        return []
    if not isinstance(value, dict):
        return [f"{place}: an object expected"]
    return [
        fault
        for key, item in value.items()
        for fault in (
            kserve_faults(item, fields[key], f"{place}/{key}")
            if key in fields
            else [f"{place}: {kind} has no {key}"]
        )
    ]


@cache
def _kserve_types() -> dict[str, dict[str, str]]:
    """Type of each field, by the name in JSON, of each type."""
    types: dict[str, dict[str, str]] = {}
    for path in (_unpacked(KSERVE) / "kserve" / "models").glob("v1*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                tables = {
                    item.targets[0].id: ast.literal_eval(item.value)
                    for item in node.body
                    if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
                    and item.targets[0].id in ("openapi_types", "attribute_map")
                }  # fmt: skip
                if len(tables) == 2:
                    names = tables["attribute_map"]
                    types[node.name] = {names[key]: kind for key, kind in tables["openapi_types"].items()}
    return types


def _unpacked(requirement: str) -> Path:
    folder = VENVS / requirement.replace("==", "-")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _pip(Path(sys.executable), "download", "--no-deps", "--dest", folder, requirement)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)
        (folder / "complete").touch()
    return folder


def _pip(python: Path, command: str, *arguments: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--retries=1")
    done = subprocess.run(
        [python, "-m", "pip", command, *quiet, *arguments], capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        pytest.skip(f"pip cannot fetch {arguments[-1]} here: {done.stderr.strip()[-200:]}")


def promtool(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """What Prometheus' own checker says."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True)
