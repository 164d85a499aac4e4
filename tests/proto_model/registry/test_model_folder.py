from __future__ import annotations

import socket

import mlflow
import pytest

from proto_model.errors import ArtifactError
from proto_model.registry import model_folder


@pytest.fixture
def said(tmp_path, capsys):
    """Function from model URI to what the process that downloads it says when it cannot."""

    def said(model_uri):
        assert model_folder.main([model_uri, str(tmp_path)]) == 1
        output = capsys.readouterr()
        assert output.out == ""
        return output.err

    return said


def test_a_tracking_server_that_is_not_there_is_named_without_its_password(said, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:SECRET@127.0.0.1:{port}")
    mlflow.set_tracking_uri(None)

    text = said("models:/proto_model@champion")

    assert text.startswith(f"Cannot use MLflow at http://127.0.0.1:{port}.")
    assert "SECRET" not in text
    assert text.count("\n") == 1


def test_a_password_in_the_models_own_address_is_not_shown(said):
    text = said("ftp://me:SECRET@127.0.0.1:1/model")

    assert text.startswith("Cannot load ftp://127.0.0.1:1/model: ")
    assert "SECRET" not in text


def test_a_path_stays_where_it_is_and_one_that_is_not_there_is_named(tmp_path):
    assert model_folder.downloaded_apart(str(tmp_path), tmp_path / "new") == tmp_path
    assert model_folder.local_folder(tmp_path.as_uri()) == tmp_path
    with pytest.raises(ArtifactError, match=r"There is no folder no/such\. Give one"):
        model_folder.downloaded_apart("no/such", tmp_path)


def test_without_mlflow_a_uri_gets_a_sentence(said, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)

    assert "MLflow is not installed" in said("models:/proto_model@champion")
