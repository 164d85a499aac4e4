import pytest

from proto_model.cli.main import COMMANDS, main


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])

    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown and summary in shown for name, (_, summary) in COMMANDS.items())


@pytest.mark.parametrize("argv", [[], ["trian"]])
def test_no_and_unknown_commands_end_with_2(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)

    assert exit_.value.code == 2
    assert "command" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])

    assert exit_.value.code == 0
    assert f"python -m proto_model {command}" in capsys.readouterr().out
