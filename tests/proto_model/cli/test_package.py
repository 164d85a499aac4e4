import pytest

from proto_model.cli import package


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--out"),
        (["--out", "a", "b"], "'b' is one argument too many"),
        (["--out", "a.zip"], "Add --zip"),
        (["check"], "DIR|ZIP"),
        (["import"], "DIR|ZIP"),
        (["check", "a", "--alias", "champion"], "there is no option"),
    ],
)
def test_wrong_arguments_end_with_two(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        package.main(arguments)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("action", [[], ["check"], ["import"]])
def test_help_has_an_example_of_each_action(action, capsys):
    with pytest.raises(SystemExit) as ended:
        package.main([*action, "--help"])

    assert ended.value.code == 0
    assert " ".join(["Example: python -m proto_model package", *action]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "{}/none", "--out", "{}/out"], "There is no folder"),
        (["check", "{}/none.zip"], "There is no package"),
        (["check", "{}/none.zip", "--python", "python2.1"], "There is no Python 'python2.1'"),
        (["import", "{}/none.zip"], "There is no package"),
    ],
)
def test_what_is_not_there_is_an_error_in_words(arguments, said, tmp_path, capsys):
    assert package.main([argument.format(tmp_path) for argument in arguments]) == 2

    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
