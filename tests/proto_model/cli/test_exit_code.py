import subprocess
import sys

import pytest
from mlflow.exceptions import MlflowException

from proto_model.cli import image, release
from proto_model.cli.exit_code import exit_code
from proto_model.errors import ArtifactError, InputError


def failing(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ArtifactError("There is no model."), 1, "error: There is no model.\n"),
        (InputError("No column a."), 2, "error: No column a.\n"),
        (OSError(13, "No rights", "x.csv"), 1, "error: Cannot read or write x.csv: No rights.\n"),
        (OSError(28, "No space left"), 1, "error: Cannot read or write a file: No space left.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_a_failure_is_a_sentence_and_a_code(error, code, said, capsys):
    assert exit_code(failing(error)) == code
    assert capsys.readouterr().err == said


def test_a_failure_of_mlflow_names_the_store_without_its_password(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@127.0.0.1:9")

    assert exit_code(failing(MlflowException("No such version"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: MLflow at http://")
    assert "No such version" in said
    assert "secret" not in said


def test_what_it_returns_is_the_code_of_a_command_that_works():
    assert exit_code(lambda: 3) == 3


def test_a_mistake_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)


def test_mlflow_is_not_imported_for_it():
    code = (
        "import sys; from proto_model.cli.exit_code import exit_code; exit_code(lambda: 0); "
        "print('mlflow' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(image, ["--out", "image.tar"]), (release, ["-e", "staging", "--registry", "oci:folder"])],
)
def test_a_registry_that_fails_is_no_stack_trace(command, arguments, monkeypatch, capsys):
    monkeypatch.setattr(command, "_run", failing_with(MlflowException("Too busy")))

    assert command.main(arguments) == 1
    assert "Too busy" in capsys.readouterr().err


def failing_with(error):
    def command(arguments):
        raise error

    return command
