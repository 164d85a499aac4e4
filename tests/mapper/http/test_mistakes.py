"""What clients send by mistake: the status, the sentence, and that it says what to do.

The service is called as the server calls it, without a socket. What the server refuses by itself, before the
service sees it, is sent to a real one.
"""

import asyncio
import http.client
import json
import socket
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from mapper.application.model import tabular_model
from mapper.application.service import Application
from mapper.http.models import Models
from mapper.http.problem import PROBLEMS
from mapper.http.settings import MapperSettings
from mapper.registry import PublishedModel
from tests.mapper.conftest import RECORD

NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""

TOKEN = "a" * 32
JSON = {"Content-Type": "application/json"}
PREDICT, EXPLAIN = "/v1/predict", "/v1/explain"
URLS = {"input_url": "https://s3.example/a", "output_url": "https://s3.example/b"}


def record(**changed):
    return {"data": {**RECORD, **changed}}


# Method, path, status, and a part of the detail.
ADDRESSES = [
    ("GET", PREDICT, 405, "GET given for /v1/predict, POST expected."),
    ("DELETE", "/v1/schema", 405, "DELETE given for /v1/schema, GET expected."),
    ("POST", "/", 405, "POST given for /, GET expected."),
    ("GET", "/nosuch", 404, "Nothing is at '/nosuch'. Send rows to /v1/predict or /v1/explain; /docs"),
    ("POST", "/predict", 404, "Nothing is at '/predict'. Send rows to /v1/predict"),
    ("POST", "/v1/predict/", 404, "Nothing is at '/v1/predict/'. Send rows to /v1/predict"),
    ("POST", "/invocations", 404, "Nothing is at '/invocations'. Send rows to /v1/predict"),
    ("POST", "/v2/models/penguins/infer", 404, "infer'. Send rows to /v1/predict"),
    ("POST", "/models/penguin/v1/predict", 404, "no model 'penguin' here. Send to /models/penguins."),
    ("POST", "/models/penguins/predict", 404, "Nothing is at '/predict'. Send rows to /v1/predict"),
]

# Headers of a body that is right, status, and a part of the detail.
HEADERS = [
    ({}, 415, "No Content-Type given, application/json expected."),
    ({"Content-Type": "text/csv"}, 415, "Content-Type 'text/csv' given, application/json expected."),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "urlencoded' given, application/json"),
    ({"Content-Type": "application/json; charset=latin-1"}, 415, "only charset=utf-8 is understood."),
    ({"Content-Type": "application/json; version=2"}, 415, "only charset=utf-8 is understood."),
    (JSON | {"Content-Encoding": "br"}, 415, "Content-Encoding 'br' given, gzip, deflate or none expected."),
    (JSON | {"Content-Encoding": "gzip"}, 400, "not gzip as its Content-Encoding says. Compress it, or"),
]

# Body, status, and a part of the detail.
BODIES = [
    (b"", 400, 'The body is empty. Send a JSON object such as {"data": {...}}.'),
    (b"{", 400, "not JSON in UTF-8: unexpected end of data: line 1 column 2 (char 1). Send a JSON object"),
    (b"mass=4", 400, "not JSON in UTF-8: unexpected character"),
    (b"{'data': 1}", 400, "line 1 column 2"),
    (b'{"data": "\xe4"}', 400, "not JSON in UTF-8: str is not valid UTF-8"),
    (b'{"data": 1} {"data": 2}', 400, "not JSON in UTF-8: unexpected content after document: line 1"),
    (json.dumps(record() | {"session": float("nan")}).encode(), 400, "expected a JSON value: line 1 column"),
    (b'{"data": %b1}' % (b" " * 3000), 413, "larger than 2000 bytes. Send several smaller requests."),
    (
        b'{"data": [{}, {}, {}, {}]}',
        413,
        "Too many rows: 4, and the limit is 3. Send several requests, or a file.",
    ),
]

# Path, content, and what the one fault says, after the row and field it names.
FAULTS = [
    (PREDICT, [RECORD], 'a list given, an object expected: {"data": ...}'),
    (PREDICT, {}, "neither `data` nor `file` given; send rows as `data`, or a file as `file`"),
    (PREDICT, {**record(), "file": URLS}, "`data` and `file` given; send rows as `data`, or a file as"),
    (PREDICT, {"data": []}, "data: no rows given, at least one expected"),
    (PREDICT, {"data": "x"}, "data: 'x' given; a record, a list of records, or columns and rows expected"),
    (PREDICT, {"data": [1]}, "row 0: 1 given, a record expected"),
    (PREDICT, {"data": {"columns": ["mass"], "data": [[1]]}}, "`columns` given; with `rows` and nothing"),
    (PREDICT, {"data": {"columns": "mass", "rows": []}}, "data.columns: a list of column names expected"),
    (
        PREDICT,
        {"data": {"columns": ["mass", "ringed"], "rows": [[1]]}},
        "row 0: 1 given, 2 values expected, one per",
    ),
    (
        PREDICT,
        {"data": {"columns": ["mass", "mass", "ringed"], "rows": [[1, 1, 1]]}},
        "mass: given 2 times, once",
    ),
    (PREDICT, {"data": {"columns": ["mass"], "rows": [[1]]}}, "ringed: a required column is missing"),
    (PREDICT, {"data": {"mass": 4}}, "row 0, ringed: a required field is missing"),
    (PREDICT, {"data": {"mas": 4, "ringed": True}}, "mass: a required field is missing; is it misspelled as"),
    (PREDICT, record(mass="heavy"), "row 0, mass: 'heavy' given, a number expected"),
    (PREDICT, record(mass=None), "row 0, mass: a value is required"),
    (PREDICT, record(mass="NA"), "row 0, mass: 'NA' means that it is missing; a value is required"),
    (PREDICT, record(mass=[4]), "row 0, mass: a list given, a number expected"),
    (PREDICT, record(mass=1e300), "row 0, mass: 1e+300 is too large; the limit is 3.403e+38"),
    (PREDICT, record(eggs=1.5), "row 0, eggs: 1.5 given, a whole number expected"),
    (PREDICT, record(eggs="two"), "eggs: 'two' given, a whole number expected, or null if it is missing"),
    (PREDICT, record(eggs=float("-inf")), "row 0, eggs: -inf is too large; the limit is 3.403e+38"),
    (PREDICT, record(ringed="perhaps"), "row 0, ringed: 'perhaps' given, true or false expected"),
    (PREDICT, record(island=3), "row 0, island: 3 given, text expected, such as 'Biscoe', 'Dream'"),
    (PREDICT, record() | {"parameters": []}, "parameters: a list given, an object expected"),
    (PREDICT, record() | {"parameters": {"coverge": 0.9}}, "no such parameter; did you mean 'coverage'?"),
    (EXPLAIN, record() | {"parameters": {"effort": "fst"}}, "'fst' given, fast or thorough expected"),
    (
        PREDICT,
        record() | {"parameter": {}},
        "parameter: no such part; known: data, file, parameters, session",
    ),
    (PREDICT, {"file": "a.csv"}, "file: 'a.csv' given, an object expected"),
    (PREDICT, {"file": URLS | {"input_url": "a.csv"}}, "file.input_url: not an absolute http or https URL"),
    (PREDICT, {"file": URLS | {"output_url": ""}}, "file.output_url: "),
]

# What the request is sent with, if not as JSON: parts of bytes, the status, and a part of the detail.
LINES = [
    ("nonsense\r\n\r\n", 400, "The request is not valid HTTP/1.1: "),
    ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/2.0 given, HTTP/1.1 expected."),
    (
        f"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
        400,
        "This server is no proxy",
    ),
    ("GET /docs HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "not known as 'evil.example'. Its setting"),
    ("GET /docs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Two Host headers given, one expected."),
    ("GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n", 401, "send `Authorization: Bearer <token>`."),
    ("GET /docs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eA==\r\n\r\n", 401, "must be `Bearer"),
    ("GET /docs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n", 401, "Ask the operator for"),
]


@pytest.fixture
def call(schema):
    """Function that sends one request to a service behind which nothing listens; status, problem, headers."""
    settings = MapperSettings(model_server_url=NOBODY, max_rows=3, max_body_bytes=2000)

    def call(method, path, body=b"", headers=JSON, signature=None):
        published = PublishedModel(schema, "7", signature)
        opened = published, Application(tabular_model(schema, {}, "7", settings.max_rows))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = []

        async def receive():
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message):
            sent.append(message)

        async def ask():
            models = Models(settings, {"penguins": opened})
            connection = SimpleNamespace(
                is_half_closed=False, transport=SimpleNamespace(is_closing=lambda: False)
            )
            given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            scope = {
                "type": "http",
                "method": method,
                "path": path,
                "headers": given,
                "connection": connection,
            }
            await models(scope, receive, send)
            models.close()

        asyncio.run(ask())
        start, end = sent
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], json.loads(end["body"]), answered

    return call


def expect(answer, status, detail):
    given, problem, headers = answer
    assert (given, problem["status"]) == (status, status), problem
    assert headers["content-type"] == "application/problem+json"
    assert detail in problem["detail"]
    assert problem["detail"].endswith((".", "?"))
    return problem


@pytest.mark.parametrize(("method", "path", "status", "detail"), ADDRESSES)
def test_wrong_methods_and_paths(call, method, path, status, detail):
    answer = call(method, path, record())

    expect(answer, status, detail)
    assert ("allow" in {name.lower() for name in answer[2]}) == (status == 405)


@pytest.mark.parametrize(("headers", "status", "detail"), HEADERS)
def test_wrong_headers(call, headers, status, detail):
    expect(call("POST", PREDICT, record(), headers), status, detail)


@pytest.mark.parametrize(("body", "status", "detail"), BODIES)
def test_wrong_bodies(call, body, status, detail):
    expect(call("POST", PREDICT, body), status, detail)


@pytest.mark.parametrize(("path", "content", "says"), FAULTS)
def test_wrong_content(call, path, content, says):
    problem = expect(call("POST", path, content), 422, "The request has 1 fault; nothing was predicted.")

    [fault] = problem["errors"]
    parts = {"row": "row {row}", "field": "{field}"}
    where = ", ".join(text.format(**fault) for part, text in parts.items() if part in fault)
    assert says in f"{where}: {fault['message']}".removeprefix(": ")


@pytest.mark.parametrize(
    ("signature", "content", "says"),
    [
        ("file", record(), "this model takes files: send `file`"),
        ("rows", {"file": URLS}, "this model takes rows: send `data`"),
    ],
)
def test_rows_for_files_and_the_other_way_round(call, signature, content, says):
    problem = expect(call("POST", PREDICT, content, signature=signature), 422, "The model takes ")

    assert [fault["message"] for fault in problem["errors"]] == [says]


def test_faults_come_in_the_order_of_the_request(call):
    problem = expect(call("POST", PREDICT, RECORD), 422, "The request has 5 faults")

    assert [fault.get("field") for fault in problem["errors"]] == [*RECORD, None]


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", PREDICT, record()),
        ("POST", PREDICT, record() | {"data": [RECORD]}),
        ("POST", EXPLAIN, record()),
        ("POST", PREDICT, b'{"data": {"mass": "x", "mass": 4, "ringed": true}}'),  # the last value counts
        ("GET", "/readyz", b""),
    ],
)
def test_a_model_server_that_is_down(call, method, path, content):
    answer = call(method, path, content)

    expect(answer, 503, f"The model server at {NOBODY} cannot be reached. Is it running?")
    assert answer[2]["Retry-After"] == "1"


@pytest.fixture(scope="module")
def guarded(start_service, schema_path, tmp_path_factory):
    """Address of a real service that asks for a token."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"anna: {TOKEN}\n")
    tokens.chmod(0o600)
    flags = ("--schema", str(schema_path), "--model-server-url", NOBODY, "--token-file", str(tokens))
    with start_service(*flags) as service:
        yield urlsplit(service.url)


@pytest.mark.system
@pytest.mark.parametrize(("text", "status", "detail"), LINES)
def test_what_the_server_refuses(guarded, text, status, detail):
    with socket.create_connection((guarded.hostname, guarded.port), timeout=20) as client:
        client.sendall(text.encode())
        response = http.client.HTTPResponse(client)
        response.begin()
        with response:
            answer = (
                response.status,
                json.loads(response.read()),
                {"content-type": response.headers["Content-Type"]},
            )

    expect(answer, status, detail)


def test_no_kind_of_problem_has_the_title_of_another():
    titles = [kind.title for kind in PROBLEMS.values()]

    assert len(set(titles)) == len(titles)
