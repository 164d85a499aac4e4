import ast
import importlib
import sys
from pathlib import Path

import pytest

import proto_model
from proto_model.cli.main import COMMANDS, main


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])

    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown and summary in shown for name, (summary, _) in COMMANDS.items())


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 2

    said = capsys.readouterr().err
    assert said.startswith("error: Give a command:\n")
    assert all(f"  {name} " in said for name in COMMANDS)


def test_an_unknown_command_ends_with_2_and_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["trian"])

    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: command: there is no 'trian'. Did you mean train?")


def test_ctrl_c_while_libraries_are_loaded_is_no_stack_trace(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)

    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])

    assert exit_.value.code == 0
    assert f"python -m proto_model {command}" in capsys.readouterr().out


def test_no_terminal_makes_a_picture_of_a_name_between_colons():
    calls = [  # rich shows `customer+key:id:` as such a picture unless it is told not to
        ast.unparse(node)
        for path in Path(proto_model.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Console")
    ]

    assert calls
    assert [call for call in calls if "emoji=False" not in call] == []


@pytest.mark.parametrize(("command", "extra"), [("train", "train"), ("score", "files")])
def test_a_library_that_is_not_installed_ends_with_what_to_install(command, extra, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(importlib, "import_module", missing)

    assert main([command]) == 1
    said = capsys.readouterr().err
    assert f"{command} needs rich, which is not installed." in said
    assert f'pip install "proto-model-turbo[{extra}]"' in said


def test_a_module_of_our_own_that_is_missing_is_a_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "proto_model.cli.score", None)

    with pytest.raises(ModuleNotFoundError):
        main(["score"])
