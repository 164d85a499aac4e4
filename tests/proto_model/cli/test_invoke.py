import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from proto_model.cli.invoke import (
    InvocationError,
    answer_table,
    answered_rows,
    build_parser,
    endpoint,
    explanation_text,
    invoke,
    read_records,
    request_body,
)
from proto_model.errors import InputError


@contextmanager
def answering(*answers):
    """URL of a server that gives these answers (status, body) one after the other, and then the last."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
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

    assert answered_rows(answer) == [{"prediction": 1}]


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


@pytest.mark.parametrize("answer", [{}, [], {"predictions": []}, {"predictions": [1]}, {"predictions": {}}])
def test_an_answer_without_predictions_is_an_error(answer):
    with pytest.raises(InvocationError, match="No predictions"):
        answered_rows(answer)


def test_requests_are_written_for_either_server():
    records = [{"a": 1}, {"a": 2, "b": "x"}]

    assert request_body(records, through_mapper=False, explain=True) == (
        "/invocations",
        {
            "dataframe_split": {"columns": ["a", "b"], "data": [[1, None], [2, "x"]]},
            "params": {"explain": True},
        },
    )
    assert request_body(records, through_mapper=True, explain=True) == ("/v1/explain", {"data": records})
    assert request_body(records, through_mapper=True, explain=False) == ("/v1/predict", {"data": records})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"n": 1.5, "s": "x"}'),
        ("a.json", '[{"n": 1.5, "s": "x"}]'),
        ("a.json", '{"columns": ["n", "s"], "data": [[1.5, "x"]]}'),
        ("a.csv", "n, s\n1.5, x\n"),
    ],
)
def test_rows_are_read_from_every_kind_of_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)

    assert read_records(tmp_path / name) == [{"n": 1.5, "s": "x"}]


@pytest.mark.parametrize("text", ["[]", "3", "[1]", "{", "", "[" * 99_999, '{"columns": ["a"], "data": [5]}'])
def test_a_file_without_rows_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(InputError, match=r"a\.json"):
        read_records(tmp_path / "a.json")


def test_answers_of_both_servers_become_a_table():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(answer_table([{"prediction": "a", "probability": 0.75, "probability_a": 0.75}]))
    console.print(answer_table([{"prediction": "b", "probabilities": {"b": 1.0}, "explanation": {}}]))
    text = console.export_text()

    assert "0.7500" in text
    assert "probabilities b" in text
    assert "explanation" not in text


def test_an_explanation_is_told_in_sentences():
    explanation = {
        "rule": {"text": "IF a > 1 THEN yes"},
        "counterfactuals": [{"text": "a = 0 gives no", "valid": False}],
        "notes": ["few rows"],
    }

    assert explanation_text(2, json.loads(json.dumps(explanation))).splitlines() == [
        "Why row 2: IF a > 1 THEN yes",
        "  a = 0 gives no (not confirmed by the model)",
        "  note: few rows",
    ]


def test_a_failure_shows_neither_password_nor_query():
    url = endpoint("http://me:s3cret@127.0.0.1:9/?signature=s3cret", "/invocations")

    assert url == "http://me:s3cret@127.0.0.1:9/invocations?signature=s3cret"
    with pytest.raises(InvocationError, match=r"No answer from http://127\.0\.0\.1:9/invocations") as caught:
        invoke(url, {}, wait_s=0)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "soon"])
def test_a_wait_that_is_no_time_is_refused_with_the_command_line(given, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(["--wait-s", given])

    assert caught.value.code == 2
    assert f"argument --wait-s: {given!r} given, seconds from 0 expected" in capsys.readouterr().err
