import http.server
import logging
import threading
import time

import pytest

from proto_model.cli.dataset import download, load_dataset, load_dictionary
from proto_model.errors import DataError

SECRET = "signature=hush"
TABLE = b"a,target\n1,x\n2,y\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        if query != SECRET:
            return self.answer(403, b"")
        if path == "/moved.csv":
            self.send_response(302)
            self.send_header("Location", f"/table.csv?{SECRET}")
            self.end_headers()
            return None
        if path == "/short.csv":
            return self.answer(200, TABLE, length=len(TABLE) + 10)
        if path == "/slow.csv":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"x" * 2**20)
                time.sleep(0.05)
            return None
        if path == "/columns.yaml":
            return self.answer(200, b"a: What it is\n")
        if path == "/endless.yaml":
            return self.answer(200, b"a: " + b"x" * 2**21)
        return self.answer(200, TABLE) if path == "/table.csv" else self.answer(404, b"no")

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up is what some of the tests are about."""


@pytest.fixture(scope="module")
def origin():
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["table.csv", "moved.csv"])
def test_a_table_is_read_from_a_url_and_its_query_kept_secret(origin, name, caplog):
    caplog.set_level(logging.INFO)

    raw = load_dataset(f"{origin}/{name}?{SECRET}", [])

    assert raw.source == f"{origin}/{name}"
    assert raw.name == name.removesuffix(".csv")
    assert raw.table.to_pydict() == {"a": [1, 2], "target": ["x", "y"]}
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("name", "message"), [("nothing.csv", "answered 404"), ("short.csv", "the answer is incomplete")]
)
def test_a_url_without_a_file_is_an_error_without_the_query(origin, name, message):
    with pytest.raises(DataError, match=f"{origin}/{name}.*{message}") as caught:
        load_dataset(f"{origin}/{name}?{SECRET}", [])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/t.csv?hush", "http://[bad/t.csv?hush", "http://?hush"])
def test_a_url_that_nobody_answers_is_an_error_without_the_query(url):
    with pytest.raises(DataError) as caught:
        load_dataset(url, [])
    assert "hush" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused(origin):
    with (
        pytest.raises(DataError, match="larger than 10 bytes"),
        download(f"{origin}/table.csv?{SECRET}", max_file_bytes=10),
    ):
        pass


def test_a_download_that_takes_too_long_is_stopped(origin):
    started = time.monotonic()

    with (
        pytest.raises(DataError, match=r"longer than 0\.2 s"),
        download(f"{origin}/slow.csv?{SECRET}", timeout_s=0.2),
    ):
        pass
    assert time.monotonic() - started < 0.9


def test_built_in_tables_and_files_are_found(tmp_path):
    (tmp_path / "table.csv").write_bytes(TABLE)

    assert load_dataset("iris", [tmp_path]).name == "iris"
    assert load_dataset("table.csv", [tmp_path]).source == str(tmp_path / "table.csv")


def test_a_dictionary_is_looked_for_like_a_data_set_and_may_have_a_url(origin, tmp_path):
    (tmp_path / "columns.yaml").write_text("b: Another\n")

    assert load_dictionary("", [tmp_path]) is None
    assert load_dictionary("columns.yaml", [tmp_path / "none", tmp_path]).content == {"b": "Another"}
    found = load_dictionary(f"{origin}/columns.yaml?{SECRET}", [])
    assert (found.content, found.name) == ({"a": "What it is"}, f"{origin}/columns.yaml")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("none.yaml", "No file none.yaml in"),
        ("none", "Cannot read the dictionary none: No such file"),
        (".", "Cannot read the dictionary .: Is a directory"),
        ("s3://a/b.yaml", "Cannot read a s3 URL"),
        ("{origin}/endless.yaml?signature=hush", "is larger than 1048576 bytes. Shorten the dictionary"),
        ("{origin}/columns.yaml?signature=old", "/columns.yaml answered 403"),
    ],
)
def test_a_dictionary_that_cannot_be_had_is_named_without_its_query(origin, tmp_path, source, told):
    with pytest.raises(DataError, match=told) as caught:
        load_dictionary(source.format(origin=origin), [tmp_path])

    assert "signature" not in str(caught.value)
