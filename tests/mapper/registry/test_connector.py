"""How the connector logs in; what it gets is tested against a real MLflow server in tests/system."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mapper import MlflowRegistryConnector
from mapper.errors import RegistryError
from mapper.registry.connector import find_model


@pytest.fixture
def guarded():
    """A server that lets nobody in, and remembers who knocked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Basic bWU6cHc="),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
    ],
)
def test_it_logs_in_as_mlflows_own_client_does(guarded, environ, header):
    url, seen = guarded

    with pytest.raises(RegistryError, match="refused the login"):
        MlflowRegistryConnector(url, environ).fetch("models:/my model@champion")

    assert seen == [("/api/2.0/mlflow/registered-models/alias?name=my+model&alias=champion", header)]


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/../../x",
        "runs:/0123abcd/../x",
        "runs:/0123abcd//x",
        "runs:/0123abcd",
        "runs:/%2e%2e/x",
        "models:/m-../x",
        "models:/m-..",
        "models:/a/b/3",
        "models:/../3",
        "models:/a/three",
        "models:/a@",
        "models:/",
        "file:/x",
    ],
)
def test_a_uri_of_another_form_is_refused_before_anybody_is_asked(guarded, uri):
    url, seen = guarded

    with pytest.raises(RegistryError, match="is not a model URI"):
        MlflowRegistryConnector(url, {}).fetch(uri)

    assert seen == []


@pytest.mark.parametrize(
    "uri", ["runs:/0123abcd/model", "runs:/0123abcd/my/model", "models:/m-0123abcd", "models:/a b/3"]
)
def test_a_uri_of_the_right_form_is_asked_for(guarded, uri):
    url, seen = guarded

    with pytest.raises(RegistryError, match="refused the login"):
        MlflowRegistryConnector(url, {}).fetch(uri)

    assert len(seen) == 1


@pytest.mark.parametrize("below", ["", "mapper/", "mapper/schema.json"])
def test_a_model_that_mlflow_downloaded_says_its_version(schema_path, tmp_path, below):
    (tmp_path / "mapper").mkdir()
    (tmp_path / "mapper" / "schema.json").write_bytes(schema_path.read_bytes())
    assert find_model(str(tmp_path / below), "", {}).version is None

    (tmp_path / "registered_model_meta").write_text("model_name: penguins\nmodel_version: '7'\n")

    assert find_model(str(tmp_path / below), "", {}).version == "7"
