"""What servers tell, by stand-ins; tests/system/test_invocation.py asks the real ones."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from proto_model.invocation.server import Server
from tests.proto_model.invocation.test_rows import SCHEMA

TYPICAL = {"size": 1.0, "age": 42, "owner": False, "job": "nurse"}
TENSORS = [
    {"name": "a", "datatype": "FP64", "shape": [-1, 1]},
    {"name": "b", "datatype": "BYTES", "shape": [-1]},
]
JOB = [
    {"name": name, "datatype": "BYTES", "shape": [-1, 1]} for name in ("input_url", "output_url", "file_id")
]


def openapi(*parts):
    schemas = {
        f"predict{part}": {
            "properties": {part: {}},
            **({"examples": [{"data": {"a": 1}}]} if part == "data" else {}),
        }
        for part in parts
    }
    bodies = [{"$ref": f"#/components/schemas/{name}"} for name in schemas]
    body = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
    request = {"requestBody": {"content": {"application/json": {"schema": body}}}}
    return {"paths": {"/v1/predict": {"post": request}}, "components": {"schemas": schemas}}


@contextmanager
def telling(pages):
    """URL of a server that answers these paths, and 404 to others."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            content = pages.get(self.path)
            text = json.dumps(content or {"error": "no such page"}).encode()
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (  # the lean server, and MLServer
            {"/v1/schema": SCHEMA.to_dict(), "/v2/models/m": {"inputs": TENSORS}},
            (False, False, "m", TYPICAL),
        ),
        (
            {"/v1/schema": SCHEMA.to_dict(), "/v2/models/m": {"inputs": JOB}},
            (False, True, "m", TYPICAL),
        ),
        (  # MLServer with a version that has no page for its schema
            {"/v2/repository/index": [{"name": "m x"}], "/v2/models/m%20x": {"inputs": TENSORS}},
            (False, False, "m x", {"a": 0, "b": "unknown"}),
        ),
        (
            {"/v2/repository/index": [{"name": "m"}], "/v2/models/m": {"inputs": JOB}},
            (False, True, "m", None),
        ),
        (  # the mapper; an example of its own says more than the schema
            {"/v1/schema": SCHEMA.to_dict(), "/openapi.json": openapi("data", "file")},
            (True, False, "m", {"a": 1}),
        ),
        ({"/v1/schema": SCHEMA.to_dict(), "/openapi.json": openapi("file")}, (True, True, "m", TYPICAL)),
        # MLflow's server, whose OpenAPI document is of other paths
        (
            {
                "/openapi.json": {"paths": {"/invocations": {}}},
                "/invocations": {"predictions": [{"prediction": 1}]},
            },
            (False, False, None, None),
        ),
        ({"/invocations": {"predictions": [{"status": "failed"}]}}, (False, True, None, None)),
        # a schema of a later release, and what is none of ours
        ({"/v1/schema": {"schema_version": "9.0", "features": []}}, (False, False, None, None)),
        ({"/v1/schema": [], "/openapi.json": [1], "/v2/repository/index": {}}, (False, False, None, None)),
    ],
)
def test_what_a_server_tells_is_known(pages, expected):
    with telling(pages) as url:
        server = Server.asked(url)

    assert (server.is_mapper, server.takes_files, server.model_name, server.record) == expected


def described(content, schemas=None):
    request = {"requestBody": {"content": {"application/json": content}}}
    return {"paths": {"/v1/predict": {"post": request}}, "components": {"schemas": schemas or {}}}


@pytest.mark.parametrize(
    "pages",
    [
        {"/openapi.json": described({})},
        {"/openapi.json": described("x")},
        {"/openapi.json": described({"schema": []})},
        {"/openapi.json": described({"schema": {"anyOf": [{"$ref": "#/components/schemas/a"}]}})},
        {"/openapi.json": described({"schema": {"anyOf": [{"$ref": 5}]}})},
        {"/openapi.json": described({"schema": {"examples": ["x"]}})},
        {"/v2/repository/index": [{"name": "m"}], "/v2/models/m": {"inputs": [1]}},
        {"/v2/repository/index": [{"name": "m"}], "/v2/models/m": {"inputs": [{"datatype": "FP64"}]}},
        {
            "/v2/repository/index": [{"name": "m"}],
            "/v2/models/m": {"inputs": [{"name": "a", "datatype": []}]},
        },
    ],
)
def test_a_server_that_tells_something_odd_tells_nothing(pages):
    with telling(pages) as url:
        assert Server.asked(url) == Server(url)
