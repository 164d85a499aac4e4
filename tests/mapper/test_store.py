"""A file's round through a real store, with a service that doubles every line."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from botocore.config import Config

from mapper.errors import MapperError
from mapper.store import main, predict_file
from scripts.object_store import BUCKET, ObjectStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(scope="module")
def client(store):
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"1,2\n" * 1000)
    return path


def score(body):
    """What mapper and model server do, as far as the store can tell."""
    with urllib.request.urlopen(body["file"]["input_url"]) as answer:
        data = answer.read() * 2
    put = urllib.request.Request(body["file"]["output_url"], data, {"Content-Type": ""}, method="PUT")
    urllib.request.urlopen(put).close()
    return {"file": {"status": "done", "file_id": body["file"]["file_id"], "bytes_out": len(data)}}


def objects(store):
    return [path for path in store.path("").rglob("*") if path.is_file()]


def test_the_predictions_come_back_and_nothing_stays_in_the_store(store, client, rows, tmp_path):
    seen = []

    summary = predict_file(
        rows,
        tmp_path / "out.csv",
        f"s3://{BUCKET}/some/folder/",
        score,
        client=client,
        progress=lambda what, done, total: seen.append((what, done, total)),
    )

    assert summary["file_id"] == "rows.csv"
    assert (tmp_path / "out.csv").read_bytes() == rows.read_bytes() * 2
    assert seen[0][0] == "uploaded"
    assert seen[-1] == ("downloaded", 8000, 8000)
    assert objects(store) == []


def test_a_job_that_failed_leaves_no_file_anywhere(store, client, rows, tmp_path):
    failed = {"file": {"status": "failed", "error": "line 3, column 'age': 'x' given"}}

    with pytest.raises(MapperError, match="was not scored: line 3"):
        predict_file(rows, tmp_path / "out.csv", f"s3://{BUCKET}", lambda body: failed, client=client)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert objects(store) == []


@pytest.mark.parametrize("store_name", ["bucket", "s3://", "https://store.example/bucket"])
def test_a_store_that_is_not_named_well_is_an_error(store_name, rows, tmp_path):
    with pytest.raises(MapperError, match="s3://bucket or s3://bucket/folder expected"):
        predict_file(rows, tmp_path / "out.csv", store_name, score, client=None)


def test_the_command_asks_the_service(store, rows, tmp_path, monkeypatch, capsys):
    asked = []

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            good = asked[-1]["parameters"]["on_bad_row"] == "mark"
            problem = {"title": "Invalid request", "detail": "One fault.", "errors": [{"message": "wrong"}]}
            body = json.dumps(score(asked[-1]) if good else problem).encode()
            self.send_response(200 if good else 422)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = ["--file", str(rows), "--out", str(tmp_path / "out.csv"), "--store", f"s3://{BUCKET}"]
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        files += ["--endpoint-url", store.endpoint, "--url", f"http://127.0.0.1:{server.server_port}"]
        try:
            assert main([*files, "--on-bad-row", "mark", "--passthrough", "id"]) == 0
            assert asked[0]["parameters"] == {"on_bad_row": "mark", "passthrough": ["id"]}
            assert json.loads(capsys.readouterr().out)["status"] == "done"

            assert main(files) == 1
            assert "Invalid request (422): One fault. wrong" in capsys.readouterr().err
        finally:
            server.shutdown()
            thread.join()
    assert objects(store) == []
