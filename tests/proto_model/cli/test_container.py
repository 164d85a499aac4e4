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
    assert container.main(["serve"]) == 1

    said = capsys.readouterr().err
    assert "there is no model to serve" in said
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
