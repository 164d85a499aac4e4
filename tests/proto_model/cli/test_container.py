import shutil
import sys
from pathlib import Path

import pytest

from proto_model.cli import container, serve


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders in place of those of the platforms, none of which is there."""
    for name in ("BUILT_IN", "SAGEMAKER", "KSERVE"):
        monkeypatch.setattr(container, name, tmp_path / name)
    monkeypatch.delenv("AZUREML_MODEL_DIR", raising=False)
    return tmp_path


def model_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "MLmodel").touch()
    return folder


def test_a_mounted_model_goes_before_the_one_that_is_built_in(places):
    built_in = model_in(places / "BUILT_IN")
    assert container.model_folder({}) == built_in

    kserve = model_in(places / "KSERVE")
    assert container.model_folder({}) == kserve

    azure = model_in(places / "azure/INPUT_model/model")
    assert container.model_folder({"AZUREML_MODEL_DIR": str(places / "azure")}) == azure

    sagemaker = model_in(places / "SAGEMAKER")
    assert container.model_folder({"AZUREML_MODEL_DIR": str(places / "azure")}) == sagemaker


def test_without_a_model_the_places_are_named(places, capsys):
    assert container.main(["serve"]) == 2

    said = capsys.readouterr().err
    assert "There is no model to serve" in said
    assert str(places / "SAGEMAKER") in said


def test_the_lean_server_listens_on_all_addresses_and_takes_options(places, monkeypatch):
    folder = model_in(places / "BUILT_IN")
    given = []
    monkeypatch.setattr(serve, "main", lambda argv: given.append(argv) or 0)
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.delenv("PROTO_MODEL_CONTAINER_SERVER", raising=False)

    assert container.main(["serve", "--workers", "2"]) == 0
    assert container.main([]) == 0

    address = ["-m", str(folder), "--host", "0.0.0.0", "--port", "9000", "--allowed-hosts", "*"]
    assert given == [[*address, "--workers", "2"], address]


@pytest.fixture
def became(places, monkeypatch):
    """Function that starts a container with another server, and gives the command that it becomes."""
    commands = []
    monkeypatch.setattr(
        container.os, "execve", lambda program, command, environment: commands.append(command)
    )
    monkeypatch.setattr(container, "_MLSERVER", places / "mlserver")

    def start(server):
        monkeypatch.setenv("PROTO_MODEL_CONTAINER_SERVER", server)
        container.main(["serve"])
        return commands.pop()

    return start


def test_mlserver_is_configured_and_started_by_its_own_command(became, places, bundle):
    shutil.copytree(bundle, model_in(places / "BUILT_IN") / "artifacts" / "bundle")

    for _ in range(2):  # in Kubernetes, a container that starts again finds its /tmp as it was
        python, option, code, *arguments = became("mlserver")

        assert (python, option) == (sys.executable, "-c")
        # `mlserver.cli` is a package, which `-m` does not run.
        assert code == "from mlserver.cli import main; main()"
        assert arguments == ["start", str(places / "mlserver")]
        assert any((places / "mlserver").rglob("model-settings.json"))


def test_mlflows_server_gets_the_model(became, places):
    model_in(places / "BUILT_IN")

    command = became("mlflow")

    assert command[1:3] == ["-m", "uvicorn"]
    assert command[-1] == "mlflow.pyfunc.scoring_server.app:app"


@pytest.mark.parametrize("server", ["mlserver", "mlflow"])
def test_other_servers_do_not_get_a_model_that_is_not_published_where_that_is_asked(
    places, monkeypatch, capsys, server
):
    model_in(places / "BUILT_IN")
    monkeypatch.setenv("PROTO_MODEL_CONTAINER_SERVER", server)
    monkeypatch.setenv("PROTO_MODEL_REQUIRE_PUBLISHED", "true")

    assert container.main(["serve"]) == 1
    assert "It is not published" in capsys.readouterr().err
