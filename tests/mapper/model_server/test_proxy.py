"""The blocking client, in front of servers that end connections when it suits them."""

import contextlib
import socket
import threading

import pytest

from mapper.client.target import ServiceTarget
from mapper.errors import ModelServerDownError
from mapper.model_server.proxy import HttpClient

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"a":1,"warnings":[]} '
BROKEN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"


@contextlib.contextmanager
def _server(*answers):
    """URL of a server that gives each answer on a connection of its own, and ends it without a word."""
    asked = []

    def serve():
        for answer in answers:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(20)


def test_a_client_goes_on_after_an_answer_that_broke_off():
    with _server(BROKEN, OK) as (url, _), contextlib.closing(HttpClient(url)) as client:
        with pytest.raises(ConnectionError):
            client.request("GET", "/")
        assert client.request("GET", "/").status == 200


def test_rows_are_sent_again_when_the_connection_had_ended_and_files_are_not():
    with _server(OK, OK) as (url, asked), contextlib.closing(ServiceTarget(url, 20.0)) as target:
        for _ in range(2):
            assert target.ask("predict", {"data": [{}]})["a"] == 1
    assert len(asked) == 2

    with _server(b"") as (url, asked), contextlib.closing(ServiceTarget(url, 20.0)) as target:
        with pytest.raises(ModelServerDownError):
            target.ask("predict", {"file": {}})
    assert len(asked) == 1
