import subprocess
import sys

import pytest
import yaml

from proto_model.cli.train import build_parser, main
from proto_model.registry.settings import TrainingSettings


def parsed(*argv):
    return TrainingSettings(**vars(build_parser().parse_args(argv)))


def test_defaults_are_those_of_the_settings():
    assert parsed() == TrainingSettings()


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ("true", True),
        ("True", True),
        ("1", True),
        ("yes", True),
        ("FALSE", False),
        ("0", False),
        ("no", False),
    ],
)
def test_usual_spellings_of_a_flag(spelling, value):
    assert parsed("--file-management", spelling).file_management is value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("sex", ("sex",)),
        (" sex, race ,sex", ("sex", "race")),
        ('"a, b",c', ("a, b", "c")),
        (",", ()),
    ],
)
def test_names_of_columns_stand_between_commas(text, names):
    for role in ("protected", "drop", "keep", "features"):
        settings = parsed(f"--{role}", text)
        assert getattr(settings, role) == getattr(settings.roles, role) == names
        assert parsed(f"--{role}", settings.as_params()[role]) == settings


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--test-size", "1"], "error: --test-size: '1' given, a number above 0 and below 1 expected"),
        (["--test-size", "nan"], "above 0 and below 1"),
        (["--test-size", "abc"], "'abc' given"),
        (["--n-candidates", "0"], "error: --n-candidates: '0' given, a whole number from 1 expected"),
        (["--n-candidates", "2.5"], "whole number from 1"),
        (["--random-state", "-1"], "whole number from 0"),
        (["--random-state", str(2**32)], "whole number from 0"),
        (["--file-management", "perhaps"], "'perhaps' given, true or false expected"),
        (["--background", "none"], "'none' given, synthetic or rows expected"),
        (["--registered-model-name", "a/b"], "without '/', ':' and '@'"),
        (["--registered-model-name", "a@b"], "without '/', ':' and '@'"),
        (["--dataset", " "], "no value given"),
        (["--nosuch", "1"], "there is no option --nosuch"),
        (["--data", "iris"], "there is no option --data. Did you mean --dataset?"),
    ],
)
def test_wrong_values_end_with_2_and_a_sentence(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)

    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_background_is_synthetic_unless_rows_are_asked_for():
    assert parsed().background == "synthetic"
    assert parsed("--background", "Rows").background == "rows"


def test_secrets_in_a_url_do_not_become_parameters():
    settings = TrainingSettings(dataset="https://me:secret@example.org/table.csv?signature=secret")

    assert settings.as_params()["dataset"] == "https://example.org/table.csv"


def test_mlproject_and_command_line_agree_on_names_and_defaults(repository):
    project = yaml.safe_load((repository / "src" / "MLproject").read_text())
    parameters = project["entry_points"]["main"]["parameters"]
    command = project["entry_points"]["main"]["command"]

    defaults = {name: parameter["default"] for name, parameter in parameters.items()}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in defaults.items()]

    assert parsed(*options) == TrainingSettings()
    assert {name: str(value) for name, value in defaults.items()} == TrainingSettings().as_params()
    for name in parameters:
        assert f"--{name.replace('_', '-')} {{{name}}}" in command


def test_help_and_wrong_arguments_do_not_wait_for_heavy_libraries(repository):
    code = (
        "import sys\nfrom proto_model.cli.main import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "print('loaded', sorted({'mlflow', 'sklearn', 'pandas', 'numpy', 'rich'} & sys.modules.keys()))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=repository / "src", capture_output=True, text=True, check=True
    )

    assert "--n-candidates" in answer.stdout
    assert answer.stdout.endswith("loaded []\n")


def test_a_dictionary_with_a_secret_in_its_url_is_logged_without_it():
    settings = parsed("--dictionary", "https://me:hush@files.example/columns.yaml?signature=hush")

    assert settings.as_params()["dictionary"] == "https://files.example/columns.yaml"
    assert parsed("--dictionary", "a/columns.yaml").as_params()["dictionary"] == "a/columns.yaml"
