import pytest

from proto_model.cli import export
from proto_model.cli.export import TARGETS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "form"),
        (["browser"], "--out"),
        (["elsewhere"], "there is no 'elsewhere'"),
        (["browser", "--out", "a", "b"], "'b' is one argument too many"),
    ],
)
def test_wrong_arguments_end_with_two(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        export.main(arguments)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", TARGETS)
def test_help_has_an_example_of_each_form(name, capsys):
    with pytest.raises(SystemExit) as ended:
        export.main([name, "--help"])

    assert ended.value.code == 0
    assert f"Example: python -m proto_model export {name} -m " in capsys.readouterr().out


def test_what_is_not_there_is_an_error_in_words(tmp_path, capsys):
    assert export.main(["browser", "-m", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2

    assert "There is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
