"""A file's round through a real store, with a model that doubles every file."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest

import mapper.cli.predict
from mapper.cli.main import main
from mapper.client.file_job import FileJob, predict_file
from mapper.client.store import Store
from mapper.errors import MapperError, RefusedByModelError, SettingsError
from scripts.object_store import BUCKET, ObjectStore

ROOT = Path(__file__).resolve().parents[3]
STORE = f"s3://{BUCKET}/some/folder/"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def objects(running, monkeypatch):
    """Names of what is in the store; credentials for it are in the environment, and none elsewhere."""
    for name, value in running.credentials.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REQUEST_CHECKSUM_CALCULATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def listed():
        return sorted(path.name for path in running.path("").rglob("*") if path.is_file())

    assert listed() == []
    yield listed
    for name in listed():
        next(running.path("").rglob(name)).unlink()


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"1,2\n" * 1000)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.csv"


class Doubler:
    """What mapper and model server do, as far as the store can tell."""

    def __init__(self, **changes):
        self.requests = []
        self.changes = changes

    def __call__(self, request):
        self.requests.append(request)
        urls = request["file"]
        if "store.invalid" in urls["input_url"]:
            return {"file": {"status": "failed", "error_type": "url", "error": "expired"}}
        with urllib.request.urlopen(urls["input_url"]) as answer:
            data = answer.read() * 2
        put = urllib.request.Request(urls["output_url"], data, {"Content-Type": ""}, method="PUT")
        with urllib.request.urlopen(put) as answer:
            etag = answer.headers["ETag"]
        summary = {
            "file_id": urls["file_id"],
            "status": "done",
            "rows": 2000,
            "rejected_rows": 0,
            "bytes_out": len(data),
            "output_format": "csv",
            "seconds": 0.01,
            "etag": etag,
            "sha256": hashlib.sha256(data).hexdigest(),
            **self.changes,
        }
        return {"file": summary, "session": request["session"]}


@pytest.fixture
def model(model_server, monkeypatch):
    """The model server, doubling files."""
    doubler = Doubler()

    def answer(request):
        urls = {name: value for name, [value] in request["inputs"].items()}
        return {"predictions": [doubler({"file": urls, "session": None})["file"]]}

    monkeypatch.setattr(model_server, "answer_to", answer)
    return model_server


def test_the_predictions_come_back_and_nothing_stays_in_the_store(objects, rows, out):
    model = Doubler()
    out.write_text("of an earlier run")

    job = FileJob(rows, out, parameters={"passthrough": ["a"]}, session={"b": 1})
    answer = predict_file(job, Store.open(STORE), model)

    assert out.read_bytes() == rows.read_bytes() * 2
    assert (answer["file"]["file_id"], answer["session"]) == ("rows.csv", {"b": 1})
    assert [request["parameters"] for request in model.requests] == [{"passthrough": ["a"]}] * 2
    assert objects() == []
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.csv", "rows.csv"]


def test_a_file_in_several_parts_arrives_whole(objects, rows, out):
    rows.write_bytes(os.urandom(9_000_000))  # boto3 sends 8 MiB at a time

    predict_file(FileJob(rows, out), Store.open(STORE), Doubler())

    assert out.read_bytes() == rows.read_bytes() * 2
    assert objects() == []


def test_any_name_of_a_file_will_do(objects, tmp_path):
    names = ["ä ?#%&\udcff.csv", "x" * 251 + ".csv"]
    for name in names:
        rows, out = tmp_path / name, tmp_path / name.swapcase()
        rows.write_bytes(b"1,2\n")
        model = Doubler()

        predict_file(FileJob(rows, out), Store.open(STORE), model)

        assert out.read_bytes() == b"1,2\n" * 2
        json.dumps(model.requests, ensure_ascii=False).encode()


def test_what_is_to_be_kept_stays_and_the_answer_says_where(objects, rows, out):
    kept = predict_file(FileJob(rows, out, keep=True), Store.open(STORE), Doubler())["kept"]

    assert [place.rpartition("/")[2] for place in kept] == objects()
    assert all(place.startswith(STORE) for place in kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "failed", "error": "line 3, column 'age': 'x' given"}, "was not scored. line 3"),
        ({"sha256": "0" * 64}, "not what the model wrote"),
    ],
)
def test_a_round_that_fails_changes_no_file_and_leaves_no_object(objects, rows, out, changes, message):
    out.write_text("of an earlier run")

    with pytest.raises(MapperError, match=message):
        predict_file(FileJob(rows, out), Store.open(STORE), Doubler(**changes))

    assert out.read_text() == "of an earlier run"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.csv", "rows.csv"]
    assert objects() == []


def test_a_model_that_takes_no_such_request_is_found_out_before_the_upload(objects, rows, out):
    def refuse(request):
        assert objects() == []
        raise RefusedByModelError("The model refused the request: column 'mass' is missing.")

    with pytest.raises(RefusedByModelError, match="file_management=true"):
        predict_file(FileJob(rows, out), Store.open(STORE), refuse)


def test_a_store_that_the_server_may_not_open_is_found_out_before_the_upload(objects, rows, out):
    def refuse(request):
        assert objects() == []
        return {"file": {"status": "failed", "error": "output_url http://s/k: not a public address."}}

    with pytest.raises(MapperError, match=r"cannot write to the store\. output_url .* not a public"):
        predict_file(FileJob(rows, out), Store.open(STORE), refuse)


def test_a_job_whose_answer_is_lost_is_warned_about(objects, rows, out, caplog):
    def lose(request):
        if objects():
            raise KeyboardInterrupt
        return {"file": {"status": "failed", "error": "input_url: expired"}}

    with pytest.raises(KeyboardInterrupt):
        predict_file(FileJob(rows, out), Store.open(STORE), lose)

    assert "may still be running" in caplog.text
    assert objects() == []


def test_the_region_of_the_bucket_is_what_urls_are_signed_for(objects):
    class Bucket(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(403)  # as AWS does when the credentials do not allow to list
            self.send_header("x-amz-bucket-region", "eu-north-1")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        store = Store.open("s3://bucket", f"http://127.0.0.1:{server.server_port}")
        thread.join()

    url = store.sign("get_object", "k", 60)
    assert re.search(r"/bucket/k\?.*Credential=[^&]*%2Feu-north-1%2Fs3", url)


def test_the_command_shows_what_it_does_and_says_what_came_of_it(objects, service, model, rows, out, capsys):
    flags = ["--on-bad-row", "mark", "--passthrough", "id", "--passthrough", "name", "--file-id", "j1"]

    assert main(["predict", "--url", service.url, *_files(rows, out), *flags]) == 0

    said = capsys.readouterr()
    assert re.search(r"out.csv: 2,000 rows, 0 of them rejected; csv, 8.0 kB; scored in 0.01 s", said.out)
    assert [line.split()[0] for line in said.err.splitlines()] == ["upload", "scoring", "download"]
    assert model.requests[-1]["params"] == {
        "on_bad_row": "mark",
        "passthrough": ["id", "name"],
        "output_format": "csv",
    }
    assert model.requests[-1]["inputs"]["file_id"] == ["j1"]
    assert out.read_bytes() == rows.read_bytes() * 2
    assert objects() == []


@pytest.mark.parametrize("command", [["explain"], ["predict", "--explain"]])
def test_a_file_is_explained_through_the_library_as_well(
    objects, model, schema_path, rows, out, capsysbinary, command
):
    server = ["--model-server-url", model.url, "--schema", str(schema_path)]
    flags = ["--option", "effort=thorough", "--session", "[7]", "--keep", "--json"]

    assert main([*command, *server, *_files(rows, out), *flags]) == 0

    answer = json.loads(capsysbinary.readouterr().out)
    assert answer["session"] == [7]
    assert len(answer["kept"]) == len(objects()) == 2
    assert model.requests[-1]["params"] == {"effort": "thorough", "output_format": "csv", "explain": True}


def test_a_service_for_rows_says_so(objects, start_service, model, schema_path, rows, out, capsys):
    server = ["--model-server-url", model.url, "--schema", str(schema_path)]
    with start_service(*server, "--signature", "rows") as service:
        assert main(["predict", "--url", service.url, *_files(rows, out)]) == 2
    assert "The model takes rows, not files" in capsys.readouterr().err


def test_a_round_that_is_interrupted_leaves_nothing(objects, model, schema_path, rows, out):
    at_work, go_on = threading.Event(), threading.Event()
    answer = model.answer_to

    def hold(request):
        if "store.invalid" not in request["inputs"]["input_url"][0]:
            at_work.set()
            go_on.wait(60)
        return answer(request)

    model.answer_to = hold
    command = [sys.executable, "-m", "mapper", "predict", "--model-server-url", model.url]
    command += ["--schema", str(schema_path), *_files(rows, out)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert at_work.wait(60)
        assert objects() != []
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()

    assert process.returncode == 130
    assert "may still be running" in said
    assert "Signature" not in said
    assert objects() == []
    assert not out.exists()
    go_on.set()


def test_a_device_is_not_replaced_by_predictions(rows, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="it is a device"):
        predict_file(FileJob(rows, pipe), store=None, ask=None)


def test_a_round_started_by_nohup_outlives_its_terminal(monkeypatch, rows, out):
    def round_of(*_, **__):
        os.kill(os.getpid(), signal.SIGHUP)
        return {"file": {"rows": 0, "rejected_rows": 0, "output_format": "csv", "bytes_out": 1, "seconds": 0}}

    monkeypatch.setattr(mapper.cli.predict, "predict_file", round_of)
    monkeypatch.setattr(mapper.cli.predict.Store, "open", lambda *_: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["predict", "--file", str(rows), "--out", str(out), "--store", "s3://c"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        ({}, ["--store", "s3://none"], "Cannot use s3://none."),
        ({}, ["--store", "bucket"], "s3://bucket or s3://bucket/folder expected"),
        ({}, ["--endpoint-url", "http://127.0.0.1:9"], "http://127.0.0.1:9 does not answer"),
        ({}, ["--endpoint-url", "http://me:an0ther5ecret@127.0.0.1:9"], "http://127.0.0.1:9 does not answer"),
        ({}, ["--endpoint-url", "127.0.0.1"], "Invalid server URL"),
        ({"AWS_ENDPOINT_URL": "nowhere"}, [], "Invalid endpoint"),
        ({"AWS_ACCESS_KEY_ID": "another"}, [], "does not know this access key"),
        ({"AWS_SECRET_ACCESS_KEY": "an0ther5ecret"}, [], "The secret key does not belong"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, [], "No credentials found"),
        ({"AWS_SECRET_ACCESS_KEY": None}, [], "Partial credentials"),
        ({"AWS_PROFILE": "nobody"}, [], "profile (nobody) could not be found"),
        ({}, ["--file", "none.csv"], "none.csv does not exist"),
        ({}, ["--file", os.devnull], "is not a file"),
        ({}, ["--out", "none/out.csv"], "is not a writable folder"),
        ({}, ["--out", "."], "it is a folder"),
        ({}, ["--on-bad-row", "mark", "--passthrough", ""], "a list of column names expected"),
        ({}, ["--output-format", "xls"], "one of csv, "),
        ({}, ["--file-id", "x" * 300], "256 characters"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(
    objects, running, model, schema_path, rows, out, monkeypatch, capsys, environment, flags, message
):
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    server = ["--model-server-url", model.url, "--schema", str(schema_path)]

    assert main(["predict", *server, *_files(rows, out), *flags]) in (1, 2)

    said = capsys.readouterr().err
    assert message in said
    assert "Signature=" not in said
    assert running.secret_key not in said
    assert "an0ther5ecret" not in said
    assert objects() == []
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--file", "a.csv"], "--file needs --out and --store"),
        (["--file", "a.csv", "--out", "b.csv", "--store", "s3://c", "x=1"], "either with --file, or"),
        (["x=1", "--keep", "--passthrough", "id"], "--passthrough, --keep given without --file"),
    ],
)
def test_flags_that_do_not_go_together_are_an_error(flags, message, capsys):
    assert main(["predict", *flags]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_file_is_not_sent(objects, rows, out):
    rows.write_bytes(b"")

    with pytest.raises(SettingsError, match="is empty"):
        predict_file(FileJob(rows, out), Store.open(STORE), Doubler())


def test_the_input_is_not_written_over(objects, rows):
    with pytest.raises(SettingsError, match="it is the input"):
        predict_file(FileJob(rows, rows), Store.open(STORE), Doubler())


def test_a_model_known_to_take_rows_is_not_asked(objects, model, schema_path, rows, out, capsys, monkeypatch):
    from mapper.mapping.schema import ModelSchema
    from mapper.registry import PublishedModel

    published = PublishedModel(ModelSchema.read(schema_path), "3", "rows")
    monkeypatch.setattr(mapper.cli.predict, "find_model", lambda *_: published)

    server = ["--model-server-url", model.url, "--schema", "models:/penguins/3"]
    assert main(["predict", *server, *_files(rows, out)]) == 2
    assert "The model takes rows, not files" in capsys.readouterr().err
    assert model.requests == []


def test_without_boto3_the_command_says_how_to_get_it(rows, out, schema_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "boto3", None)
    server = ["--model-server-url", "http://127.0.0.1:9", "--schema", str(schema_path)]

    assert main(["predict", *server, *_files(rows, out)]) == 2
    assert "pip install boto3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestTimeTooSkewed", "The clock of this machine"),
        ("AccessDenied", "The credentials do not allow it"),
        ("ExpiredToken", "Log in again"),
        ("SlowDown", "The store refused: GET https://b/k?... later"),
    ],
)
def test_refusals_that_this_store_never_gives_are_sentences_as_well(objects, rows, code, message):
    from botocore.stub import Stubber

    client = boto3.client("s3")
    with Stubber(client) as stubbed, contextlib.suppress(AssertionError):
        stubbed.add_client_error("delete_object", code, "GET https://b/k?X-Amz-Signature=5e later", 403)
        with pytest.raises(MapperError, match=re.escape(message)) as caught:
            Store("bucket", "", client).remove("k")
    assert f"({code})" in str(caught.value)


def _files(rows, out):
    return ["--file", str(rows), "--out", str(out), "--store", STORE]
