"""MLflow fills the commands of MLproject in; each program has to understand what comes out."""

import importlib
import shlex

import pytest
import yaml

from proto_model.cli.main import COMMANDS


@pytest.mark.parametrize("entry_point", ["main", "compare", "score"])
def test_every_entry_point_is_understood_by_its_program(entry_point, repository):
    project = yaml.safe_load((repository / "src" / "MLproject").read_text())
    entry = project["entry_points"][entry_point]
    values = {
        name: shlex.quote(str(parameter.get("default", "file.csv")))
        for name, parameter in entry["parameters"].items()
    }
    words = shlex.split(entry["command"].format(**values))

    if words[:2] == ["python", "../compare.py"]:
        module, arguments = "compare", words[2:]
    else:
        assert words[:3] == ["python", "-m", "proto_model"]
        module, arguments = COMMANDS[words[3]][0], words[4:]

    assert importlib.import_module(module).build_parser().parse_args(arguments)


def test_parameters_have_a_type_and_are_all_used(repository):
    project = yaml.safe_load((repository / "src" / "MLproject").read_text())

    for entry in project["entry_points"].values():
        for name, parameter in entry["parameters"].items():
            assert parameter["type"] in ("string", "float")
            assert f"{{{name}}}" in entry["command"]
