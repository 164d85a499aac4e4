from __future__ import annotations

import socket

import mlflow
import pytest

from proto_model.serving.http import location


@pytest.fixture
def said(tmp_path, capsys):
    """Function from model URI to what the process that downloads it says when it cannot."""

    def said(model_uri):
        assert location.main([model_uri, str(tmp_path)]) == 1
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

    assert text.startswith("models:/proto_model@champion: ")
    assert f"127.0.0.1:{port}" in text
    assert "SECRET" not in text
    assert text.count("\n") == 1


def test_a_password_in_the_models_own_address_is_not_shown(said):
    text = said("ftp://me:SECRET@127.0.0.1:1/model")

    assert text.startswith("ftp://127.0.0.1:1/model: ")
    assert "SECRET" not in text
