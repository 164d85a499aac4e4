import os
import socket

import pytest

from proto_model.errors import RegistryError
from proto_model.registry.tracking import check_store


def test_a_server_that_is_down_is_said_at_once_without_the_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(
            RegistryError, match=r"MLflow at http://127\.0\.0\.1:\d+ cannot be used\."
        ) as caught:
            check_store(uri)

    assert "secret" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_file_that_cannot_be_a_store_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database at all")
    for path, problem in (
        ("notes.txt", "file is not a database"),
        ("", "unable to open database file"),
    ):
        with pytest.raises(RegistryError, match=problem):
            check_store(f"sqlite:///{tmp_path}/{path}")


def test_a_scheme_that_mlflow_does_not_know_is_an_error():
    with pytest.raises(RegistryError, match="MLflow at nosuch://x cannot be used"):
        check_store("nosuch://x")
