from __future__ import annotations

import socket

import pytest

from proto_model.errors import ArtifactError
from proto_model.server.location import local_folder


def test_a_tracking_server_that_is_not_there_is_named_without_its_password(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:SECRET@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(ArtifactError) as caught:
        local_folder("models:/proto_model@champion", tmp_path)

    assert str(caught.value).startswith("models:/proto_model@champion: ")
    assert "127.0.0.1" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_password_in_the_models_own_address_is_not_shown(tmp_path):
    with pytest.raises(ArtifactError) as caught:
        local_folder("ftp://me:SECRET@127.0.0.1:1/model", tmp_path)

    assert "127.0.0.1" in str(caught.value)
    assert "SECRET" not in str(caught.value)
