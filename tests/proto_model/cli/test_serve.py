"""Arguments of `serve`: models by name, and what can be followed."""

import pytest

from proto_model.cli.serve import _named, main


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("models:/a@champion", ("", "models:/a@champion")),
        ("a=models:/a@champion", ("a", "models:/a@champion")),
        ("a-2.x=build/model=7", ("a-2.x", "build/model=7")),
        ("build/a=b", ("", "build/a=b")),
    ],
)
def test_a_model_may_have_a_name(text, named):
    assert _named(text) == named


def test_a_folder_may_be_called_as_a_name_would(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()

    assert _named("a=b") == ("", "a=b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "models:/a/7", "--follow", "10"], "no model is named by an alias"),
        (["-m", "models:/a@champion", "--follow", "0"], "a number from 0.1 expected"),
    ],
)
def test_what_cannot_be_followed_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
