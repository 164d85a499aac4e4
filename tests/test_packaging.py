"""One version, one list of dependencies for each distribution, and what is derived from them."""

import importlib.metadata
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mapper
import proto_model

ROOT = Path(__file__).resolve().parents[1]
LISTS = {
    name: tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    for name, folder in (("proto-model-turbo", "."), ("proto-model-mapper", "mapper"))
}


def required(project):
    """Every requirement of a distribution, those of its extras and groups included."""
    yield from project["project"]["dependencies"]
    for group in (project["project"]["optional-dependencies"], project.get("dependency-groups", {})):
        for requirements in group.values():
            yield from requirements


def test_there_is_one_version():
    assert mapper.__version__ == proto_model.__version__
    for name in LISTS:
        assert importlib.metadata.version(name) == proto_model.__version__
    assert f"## {proto_model.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("command", ["proto-model", "proto-mapper"])
def test_the_commands_are_installed(command):
    program = Path(sysconfig.get_path("scripts"), command)

    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout

    assert "serve" in shown


def test_derived_lists_are_up_to_date():
    derived = runpy.run_path(str(ROOT / "scripts" / "requirements.py"))["derived_files"]()

    stale = [path.name for path, content in derived.items() if path.read_text() != content]

    assert stale == [], "type `make lock`"


def test_everything_required_is_pinned_and_the_pins_fit():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line[:1].isalnum()]
    for requirement in map(Requirement, (line for project in LISTS.values() for line in required(project))):
        pinned = [pin for pin in pins if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
        assert pinned, f"{requirement} is not in constraints.txt; type `make lock`"
        fitting = [pin for pin in pinned if requirement.specifier.contains(str(pin.specifier)[2:])]
        assert fitting, f"{requirement} excludes the pin in constraints.txt; type `make lock`"


def test_the_lock_fits_the_lists():
    checked = subprocess.run(
        [sys.executable, "-m", "uv", "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


def test_the_mapper_needs_few_packages_and_lists_its_own():
    project = LISTS["proto-model-mapper"]
    files = [*(ROOT / "mapper").rglob("__init__.py"), ROOT / "mapper" / "http" / "page" / "index.html"]
    folders = {path.parent.relative_to(ROOT) for path in files}

    folders = {folder for folder in folders if "build" not in folder.parts}  # of `pip install ./mapper`
    assert len(project["project"]["dependencies"]) <= 6
    assert set(project["tool"]["setuptools"]["packages"]) == {".".join(folder.parts) for folder in folders}


def test_nothing_changes_the_module_search_path():
    # MLServer runs what it is given without an installation.
    # An image has no installation either, and benchmarks run other versions of this package. A model source
    # imports what is in its working directory.
    parts = (
        "registry/mlserver_files.py",
        "deployment/image/recipe.py",
        "deployment/image/context.py",
        "sources/child.py",
        "sources/limits.py",
    )
    allowed = {ROOT / "src/proto_model" / part for part in parts}
    programs = "servers", "selection", "explain_pairs", "explain_serving", "overload", "conformance"
    allowed |= {ROOT / "benchmarks" / f"{name}.py" for name in programs}
    files = [*ROOT.glob("*.py"), *ROOT.glob("*.sh"), ROOT / "Makefile"]
    for folder in ("src", "mapper", "scripts", "benchmarks"):
        files += (ROOT / folder).rglob("*.py")

    patched = [
        path.name
        for path in files
        if path not in allowed
        and any(word in path.read_text() for word in ("sys.path.", "sys.path[", "PYTHONPATH", '.pth"'))
    ]

    assert patched == []


def test_the_tests_that_the_security_page_names_are_there():
    named = re.findall(r"`((?:tests|schemas)/[^` ]*)`", (ROOT / "SECURITY.md").read_text())

    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
