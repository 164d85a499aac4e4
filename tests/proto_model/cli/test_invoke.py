import pytest

from proto_model.cli.invoke import build_parser


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "soon"])
def test_a_wait_that_is_no_time_is_refused_with_the_command_line(given, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(["--wait-s", given])

    assert caught.value.code == 2
    assert f"--wait-s: {given!r} given, seconds from 0 expected" in capsys.readouterr().err
