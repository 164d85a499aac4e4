import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from proto_model.invocation.http import InvocationError, endpoint, invoke


@contextmanager
def answering(*answers, **headers):
    """URL of a server that gives these answers (status, body) one after the other, and then the last."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

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


def test_a_server_that_is_not_ready_is_asked_again():
    with answering((503, b"soon"), (200, b'{"predictions": [{"prediction": 1}]}')) as url:
        answer = invoke(url, {}, wait_s=10)

    assert answer == {"predictions": [{"prediction": 1}]}


def test_a_server_that_never_comes_is_given_up():
    with answering((200, b"{}")) as url:
        pass

    with pytest.raises(InvocationError, match=r"No answer .* within 0\.3 s"):
        invoke(url, {}, wait_s=0.3)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error_code": "X", "message": "row 0 is bad"}', "answered 400: row 0 is bad"),
        (b'{"error": "row 0 is bad"}', "answered 400: row 0 is bad"),
        (b'{"title": "Bad", "detail": "two", "errors": [{"row": 0}]}', 'answered 400: two\n{"row": 0}'),
        (b"<html>", "answered 400: <html>"),
    ],
)
def test_an_error_is_told_in_the_servers_words(body, words):
    with answering((400, body)) as url, pytest.raises(InvocationError) as caught:
        invoke(url, {}, wait_s=0)

    assert words in str(caught.value)


def test_a_mistyped_url_is_said_in_a_sentence():
    with pytest.raises(InvocationError, match="The URL is not valid"):
        invoke("http://127.0.0.1:abc", {}, wait_s=0)


def test_an_answer_that_is_not_json_is_an_error():
    with answering((200, b"fine")) as url, pytest.raises(InvocationError, match="not JSON"):
        invoke(url, {}, wait_s=0)


def test_a_failure_shows_neither_password_nor_query():
    url = endpoint("http://me:s3cret@127.0.0.1:9/?signature=s3cret", "/invocations")

    assert url == "http://me:s3cret@127.0.0.1:9/invocations?signature=s3cret"
    with pytest.raises(InvocationError, match=r"No answer from http://127\.0\.0\.1:9/invocations") as caught:
        invoke(url, {}, wait_s=0)
    assert "s3cret" not in str(caught.value)


def test_an_answer_that_is_nested_too_deeply_is_an_error():
    deep = b"[" * 100_000

    with answering((200, deep)) as url, pytest.raises(InvocationError, match="is not JSON"):
        invoke(url, {}, wait_s=0)
    with answering((400, deep)) as url, pytest.raises(InvocationError, match="answered 400"):
        invoke(url, {}, wait_s=0)


def test_a_redirect_to_what_is_no_url_is_an_error():
    with (
        answering((302, b""), Location="http://[::1") as url,
        pytest.raises(InvocationError, match="sends requests on to what is no URL"),
    ):
        invoke(url, {}, wait_s=0)
