"""MLflow fills the commands of MLproject in; each program has to understand what comes out."""

import importlib
import shlex

import pytest
import yaml


@pytest.mark.parametrize("entry_point", ["main", "compare", "score"])
def test_every_entry_point_is_understood_by_its_program(entry_point, repository):
    project = yaml.safe_load((repository / "src" / "MLproject").read_text())
    entry = project["entry_points"][entry_point]
    values = {
        name: shlex.quote(str(parameter.get("default", "file.csv")))
        for name, parameter in entry["parameters"].items()
    }
    words = shlex.split(entry["command"].format(**values))

    assert words[:3] == ["python", "-m", "proto_model"]
    assert importlib.import_module(f"proto_model.cli.{words[3]}").build_parser().parse_args(words[4:])


def test_parameters_have_a_type_and_are_all_used(repository):
    project = yaml.safe_load((repository / "src" / "MLproject").read_text())

    for entry in project["entry_points"].values():
        for name, parameter in entry["parameters"].items():
            assert parameter["type"] in ("string", "float")
            assert f"{{{name}}}" in entry["command"]
