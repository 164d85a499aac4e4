"""The clients for applications, against a server that answers as it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

import mapper
from mapper.client import service
from mapper.errors import MapperError, ModelServerDownError, ModelServerTimeoutError, SettingsError
from tests.ports import free_ports

ANSWER = {
    "model": {"name": "planets", "version": "3"},
    "predictions": [{"prediction": "big", "probability": 0.9}],
    "warnings": [],
    "warning_count": 0,
}
FAULT = {"kind": "bad_value", "message": "'x' given, a number expected", "row": 0, "field": "mass"}
PROBLEM = {
    "type": "/docs#invalid-request",
    "title": "The request does not fit the model",
    "status": 422,
    "detail": "1 fault.",
    "request_id": "abc",
    "errors": [FAULT],
    "error_count": 1,
}
BUSY = {"type": "/docs#busy", "title": "The mapper is busy", "detail": "Try again.", "request_id": "abc"}


@contextmanager
def answering(*replies: tuple[int, object]) -> Iterator[SimpleNamespace]:
    """A server with replies in order, of which the last stays; `seen` has what it was asked."""
    seen: list[tuple[str, str, str | None, object]] = []
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            seen.append((self.command, self.path, self.headers["Authorization"], body))
            status, content = left.pop(0) if len(left) > 1 else left[0]
            if status == 0:  # closes without an answer
                self.close_connection = True
                return
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if status == 503:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", seen=seen)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def pauses(monkeypatch):
    """Pauses that a client would make; none is made."""
    made: list[float] = []
    monkeypatch.setattr(service, "time", SimpleNamespace(sleep=made.append))
    return made


def test_a_call_sends_rows_parameters_session_and_token():
    with answering((200, ANSWER)) as server, mapper.Client(server.url, token="secret") as client:
        answer = client.explain({"mass": 4.2}, parameters={"effort": "fast"}, session={"desk": 4})
        client.predict([{"mass": 4.2}])

    assert answer == ANSWER
    sent = {"data": {"mass": 4.2}, "parameters": {"effort": "fast"}, "session": {"desk": 4}}
    assert server.seen == [
        ("POST", "/v1/explain", "Bearer secret", sent),
        ("POST", "/v1/predict", "Bearer secret", {"data": [{"mass": 4.2}]}),
    ]


def test_a_problem_is_an_exception_that_has_its_parts():
    with answering((422, PROBLEM)) as server, mapper.Client(server.url) as client:
        with pytest.raises(mapper.ProblemError, match="does not fit the model \\(422\\): 1 fault") as raised:
            client.predict({"mass": "x"})

    problem = raised.value
    assert (problem.status, problem.name, problem.request_id) == (422, "invalid-request", "abc")
    assert [fault.to_dict() for fault in problem.errors] == [FAULT]
    assert problem.error_count == 1
    assert len(server.seen) == 1


def test_a_busy_mapper_is_asked_again_after_the_time_that_it_names(pauses):
    with answering((503, BUSY), (503, BUSY), (200, ANSWER)) as server, mapper.Client(server.url) as client:
        assert client.predict({"mass": 4.2}) == ANSWER

    assert len(server.seen) == 3
    assert len(pauses) == 2
    assert all(1 <= pause <= 1.5 for pause in pauses)


def test_a_mapper_that_stays_busy_is_a_problem(pauses):
    with answering((503, BUSY)) as server, mapper.Client(server.url, retries=2) as client:
        with pytest.raises(mapper.ProblemError) as raised:
            client.predict({"mass": 4.2})

    assert raised.value.name == "busy"
    assert raised.value.retry_after_s == 1
    assert len(server.seen) == 3
    assert len(pauses) == 2


def test_a_lost_connection_is_tried_again_but_a_file_job_is_sent_once(pauses):
    with answering((0, None), (0, None), (200, ANSWER)) as server, mapper.Client(server.url) as client:
        assert client.predict({"mass": 4.2}) == ANSWER

    with answering((0, None)) as server, mapper.Client(server.url) as client:
        with pytest.raises(ModelServerDownError):
            client.predict_file("https://in.example/x", "https://out.example/y")

    assert [body["file"]["input_url"] for *_, body in server.seen] == ["https://in.example/x"]


def test_nobody_at_the_address_is_said_and_so_is_a_wrong_address(pauses):
    (port,) = free_ports(1)
    with mapper.Client(f"http://127.0.0.1:{port}", retries=1) as client:
        with pytest.raises(ModelServerDownError, match=f"No mapper service at http://127.0.0.1:{port}"):
            client.predict({})

    assert len(pauses) == 1
    with pytest.raises(SettingsError, match="Invalid server URL"):
        mapper.Client("localhost:8080")


def test_what_does_not_come_in_time_is_not_asked_for_again():
    with mapper.Client("http://127.0.0.1:1", timeout_s=0.5) as client:
        client._http.request = _too_late
        with pytest.raises(ModelServerTimeoutError, match=r"did not answer within 0\.5 s"):
            client.predict({})


def _too_late(*_, **__):
    raise TimeoutError


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_something_else_at_the_address_is_said(body):
    with answering((200, body)) as server, mapper.Client(server.url) as client:
        with pytest.raises(MapperError, match="Is it a mapper"):
            client.schema()


def test_the_asynchronous_client_asks_many_at_once_over_few_connections():
    async def all_of_them(url):
        async with mapper.AsyncClient(url, max_connections=3) as client:
            await client.schema()
            return await asyncio.gather(*(client.predict({"mass": mass}) for mass in range(20)))

    with answering((200, ANSWER)) as server:
        answers = asyncio.run(all_of_them(server.url))

    assert answers == [ANSWER] * 20
    assert sorted(body["data"]["mass"] for *_, body in server.seen[1:]) == list(range(20))


def test_a_call_that_was_cancelled_keeps_its_connection_until_it_ends():
    async def one_cancelled(url):
        async with mapper.AsyncClient(url, max_connections=1) as client:
            cancelled = asyncio.create_task(client.predict({"mass": 1}))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            return await client.predict({"mass": 2})

    with answering((200, ANSWER)) as server:
        assert asyncio.run(one_cancelled(server.url)) == ANSWER


def test_problems_of_the_asynchronous_client_are_the_same():
    async def ask(url):
        async with mapper.AsyncClient(url) as client:
            await client.explain({"mass": "x"})

    with answering((422, PROBLEM)) as server:
        with pytest.raises(mapper.ProblemError) as raised:
            asyncio.run(ask(server.url))
    assert raised.value.errors[0].field == "mass"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"retries": -1}, "retries is -1"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        mapper.Client("http://127.0.0.1:9", **settings)


def test_a_value_that_json_cannot_hold_is_told():
    with pytest.raises(MapperError, match="JSON cannot hold a value"):
        mapper.Client("http://127.0.0.1:9", retries=0).predict({"x": object()})
