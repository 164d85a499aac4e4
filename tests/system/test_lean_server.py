"""`python -m proto_model serve` for real: what it loads, its limits on sockets, its workers and its end."""

import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.model import write_bundle
from proto_model.registry.logged_model import CODE, log_explainer, log_forest_model, save_model
from proto_model.registry.signature import file_signature
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, encode, load_training_data, prepare
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.crowd import Crowd
from tests.fault_proxy import FaultProxy, hold_upload, passed
from tests.ports import free_port
from tests.stores import fresh_store
from tests.terminal import START_S

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
SRC = Path(__file__).parents[2] / "src"
ROWS = [{"size": 0.5, "age": 40, "job": "nurse"}, {"size": -1.0, "age": None, "job": "clerk"}]
BODY = {"dataframe_records": ROWS}

HEAVY = ("mlflow", "pandas", "sklearn", "scipy", "pyarrow", "fastapi", "pydantic", "matplotlib")
IMPORTS = f"""
import json, sys, threading, urllib.error, urllib.request
from proto_model.cli import serve
from proto_model.serving.http import app

def ask():
    for body in json.loads(sys.argv[2]):
        request = urllib.request.Request(
            f"http://127.0.0.1:{{sys.argv[3]}}/invocations", json.dumps(body).encode(),
            {{"Content-Type": "application/json"}})
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    json.load(response)
                break
            except urllib.error.URLError:
                pass
    print(sorted(set({HEAVY!r}) & sys.modules.keys()), flush=True)
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ask, daemon=True).start()
sys.exit(serve.main(["-m", sys.argv[1], "-p", sys.argv[3], "--explainers", "0"]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tracking URI, folder of a model, and its pipeline; the model is champion, its explainer too."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "age": pd.array(np.where(rng.random(300) < 0.1, None, rng.integers(18, 90, 300)), dtype="Int64"),
            "job": rng.choice(["clerk", "nurse"], 300),
        }
    )
    frame["class"] = (frame["size"] > 0.1).astype(int)
    data = prepare(RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False)))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=20)
    pipeline.fit(data.X_train, data.y_train)
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        uri = fresh_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        experiment = mlflow.create_experiment("serve", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            model = log_forest_model(pipeline, data)
            explainer = log_explainer(pipeline, data)
        for info, name in ((model, "proto_model"), (explainer, "proto_model_explainer")):
            register_version(
                info.model_uri, name, run_id=run.info.run_id, description="", tags={}, alias="champion"
            )
        local = mlflow.artifacts.download_artifacts(model.model_uri, dst_path=str(folder / "model"))
        frame = pd.DataFrame(ROWS).astype({"size": float, "age": float, "job": object})
        yield uri, Path(local), pipeline.predict_proba(frame[data.schema.feature_names])


@pytest.fixture(scope="module")
def local_model(store):
    return store[1]


@contextmanager
def serving(model_uri, *options, **environment):
    """Process and port of a server that answers."""
    port = free_port()
    command = [sys.executable, "-m", "proto_model", "serve", "-m", str(model_uri), "-p", str(port), *options]
    variables = os.environ | {"PYTHONPATH": str(SRC)} | environment
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as server:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(server.stderr), daemon=True)
        reader.start()
        try:
            end = time.monotonic() + START_S
            while True:
                try:
                    assert get(port, "/ping") == (200, b"\n")
                    break
                except OSError:
                    assert server.poll() is None, lines
                    assert time.monotonic() < end, lines
                    time.sleep(0.02)
            yield server, port
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
            reader.join()
    assert not [line for line in lines if "Traceback" in line], lines


def get(port, path):
    return post(port, path, None)


def post(port, path, body):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            content = response.read()
            return response.status, content if body is None else json.loads(content)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def port(local_model):
    """Port of a server with tight limits."""
    options = ("--max-body-bytes", "2000000", "--body-timeout-s", "0.5", "--max-connections", "50")
    with serving(local_model, *options) as (_, port):
        yield port


def test_a_model_of_the_registry_is_served_with_its_version(store):
    with serving("models:/proto_model@champion", MLFLOW_TRACKING_URI=store[0]) as (_, port):
        status, answer = post(port, "/invocations", BODY)
        _, metadata = get(port, "/v2/models/proto_model/versions/1")

    assert status == 200, answer
    assert [[row["probability_0"], row["probability_1"]] for row in answer["predictions"]] == store[
        2
    ].tolist()
    assert [row["prediction"] for row in answer["predictions"]] == store[2].argmax(axis=1).tolist()
    assert json.loads(metadata)["versions"] == ["1"]


def test_the_explainer_explains_every_row(store):
    with serving("models:/proto_model_explainer@champion", MLFLOW_TRACKING_URI=store[0]) as (_, port):
        status, answer = post(port, "/invocations", BODY)

    assert status == 200, answer
    assert [set(row) for row in answer["predictions"]] == [{"prediction", "probability", "explanation"}] * 2


def test_no_heavy_library_is_imported_by_answering_and_explaining(local_model):
    port = free_port()
    bodies = [BODY, {"dataframe_records": ROWS * 500}, BODY | {"params": {"explain": True}}]

    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, local_model, json.dumps(bodies), str(port)],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_limits_hold_on_real_connections(port):
    rows = {"dataframe_records": ROWS * 30_000}
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")

        assert post(port, "/invocations", rows)[0] == 413
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert post(port, "/invocations", BODY)[0] == 200


def wire(port, *parts):
    """Status and content of the answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for part in parts:
            client.sendall(part)
        response = http.client.HTTPResponse(client)
        response.begin()
        with response:
            return response.status, json.loads(response.read())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\na: " + b"x" * 1_000_000, 431),
        (b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 10_000, 431),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
    ],
)
def test_what_cannot_be_read_gets_a_proper_error_while_the_client_is_still_sending(port, head, status):
    given, error = wire(port, head, *[b"x" * 10_000] * 50)

    assert given == status
    assert error.keys() == {"error_code", "message"}
    assert post(port, "/invocations", BODY)[0] == 200


def test_a_head_that_trickles_in_is_given_up(port):
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\n")
        answer = b""
        while not answer:
            client.sendall(b"a: b\r\n")
            try:
                answer = client.recv(4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_the_body_of_a_request_that_offers_another_protocol_is_read(port):
    body = json.dumps(BODY).encode()
    head = b"POST /invocations HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    head += b"HTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r\n"

    status, answer = wire(port, head + b"Content-Length: %d\r\n\r\n" % len(body), body)

    assert (status, len(answer["predictions"])) == (200, 2)


def test_silent_connections_give_way_at_once(port):
    established = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    established.request("GET", "/ping")
    established.getresponse().read()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    try:
        for _ in range(20):
            assert post(port, "/invocations", BODY)[0] == 200
        established.request("GET", "/ping")
        assert established.getresponse().status == 200
    finally:
        established.close()
        for client in silent:
            client.close()


def test_large_bodies_share_a_limit_and_the_slowest_gives_way(local_model):
    head = b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 400000\r\n\r\n"
    large = {"dataframe_records": ROWS * 5000}
    with serving(local_model, "--max-bodies-bytes", "500000") as (_, port):
        slow = socket.create_connection(("127.0.0.1", port), timeout=30)
        with slow:
            slow.sendall(head + b" " * 399_999)
            status, answer = 503, {"error_code": "TEMPORARILY_UNAVAILABLE"}
            while status == 503:
                assert answer["error_code"] == "TEMPORARILY_UNAVAILABLE"
                assert post(port, "/invocations", BODY)[0] == 200
                status, answer = post(port, "/invocations", large)
            assert (status, len(answer["predictions"])) == (200, 10_000)
            response = http.client.HTTPResponse(slow)
            response.begin()
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert b"too slowly" in response.read()


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/proto_model/infer"])
@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"", b"", 200),
        (b"localhost", b"127.0.0.1:1234", 200),
        (b"application/json", b'APPLICATION/Json; Charset="UTF-8"', 200),
        (b"localhost", b"evil.example", 421),
        (b"HTTP/1.1", b"HTTP/0.9", 505),
        (b"HTTP/1.1", b"HTTP/2.0", 505),
        (b"HTTP/1.1", b"RTSP/1.0", 400),
        (b"application/json", b"text/plain", 415),
        (b"application/json", b"application/json; charset=utf-16", 415),
        (b"Content-Type: application/json\r\n", b"", 415),
        (b"Content-Type", b"Transfer-Encoding: gzip, chunked\r\nContent-Type", 400),
        (b"Content-Type", b"Content-Type: application/json\r\nContent-Type", 200),
        (b"Content-Type", b"Content-Type: text/plain\r\nContent-Type", 400),
        (b"application/json", b"application/json\r\nContent-Type: text/plain", 400),
    ],
)
def test_a_half_closed_request_gets_its_answer_whatever_its_head_says(port, path, old, new, status):
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [ROWS[0][name]]}
        for name, kind in (("size", "FP64"), ("age", "INT64"), ("job", "BYTES"))
    ]
    body = json.dumps(BODY if path == "/invocations" else {"inputs": tensors}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head.replace(old, new) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


def test_the_names_of_a_server_on_all_addresses_can_be_set(local_model):
    def status(port, host):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/ping", headers={"Host": host})
        with connection.getresponse() as response:
            connection.close()
            return response.status

    hosts = ("10.1.2.3:5001", "model:5001", "model.example", "a.model.example", "evil.example")
    with serving(local_model, "--host", "0.0.0.0") as (_, port):
        assert [status(port, host) for host in hosts] == [200, 200, 421, 421, 421]
    names = "model.example, *.model.example"
    with serving(local_model, "--host", "0.0.0.0", PROTO_MODEL_ALLOWED_HOSTS=names) as (_, port):
        assert [status(port, host) for host in hosts] == [200, 421, 200, 200, 421]


def test_a_client_that_sends_ahead_and_never_reads_costs_little(local_model):
    flood = b"GET /metrics HTTP/1.1\r\n\r\n" * 500_000
    with serving(local_model) as (server, port):
        before = memory_mb(server.pid)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
        try:
            for client in clients:
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.sendall(flood)
            for _ in range(10):
                assert post(port, "/invocations", BODY)[0] == 200
            assert memory_mb(server.pid) < before + 60
        finally:
            for client in clients:
                client.close()


def memory_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_requests_sent_one_after_the_other_without_waiting_are_answered_in_order(port):
    request = json.dumps(BODY).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    message = f"{head}Content-Length: {len(request)}\r\n\r\n".encode() + request
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(message + b"GET /v2/health/live HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"predictions") < answer.index(b'"live":true')


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_no_request(local_model, workers):
    body = json.dumps(BODY).encode()
    head = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(local_model, "--workers", str(workers)) as (server, port):
        crowd = Crowd(port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        crowd.outlast(server.terminate)

        assert server.wait(30) == 0
    assert crowd.lost == []
    assert set(crowd.statuses) == {200}


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_requests_at_work_finish(local_model, workers):
    """A body that is still arriving when the signal comes gets its answer; then the server is gone."""
    body = json.dumps({"dataframe_records": ROWS * 20}).encode()
    with serving(local_model, "--workers", str(workers)) as (server, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:100])
        explaining = {"dataframe_records": ROWS * 20, "params": {"explain": True}}
        answers = []
        thread = threading.Thread(target=lambda: answers.append(post(port, "/invocations", explaining)))
        thread.start()
        while b'proto_model_jobs{kind="explanation"} 0' in get(port, "/metrics")[1] and not answers:
            pass

        server.send_signal(signal.SIGTERM)
        while True:
            try:
                get(port, "/ping")
            except OSError:
                break
        connection.send(body[100:])
        with connection.getresponse() as response:
            assert response.status == 200
            assert len(json.load(response)["predictions"]) == 40
        connection.close()
        thread.join()

        assert answers[0][0] == 200
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def file_model(tmp_path_factory):
    """Folder of a model for files."""
    folder = tmp_path_factory.mktemp("files")
    data = load_training_data("iris", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    signature = file_signature()
    with warnings.catch_warnings():
        # mlflow 3.17 on a model without an input example
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method", UserWarning)
        save_model(folder / "model", bundle=folder / "bundle", code=CODE / "file.py", signature=signature)
    return folder / "model"


@pytest.fixture
def objects(tmp_path):
    """A store behind a proxy, with a file to score."""
    with ObjectStore.running(tmp_path / "store") as rclone, FaultProxy(rclone.port) as proxy:
        load_training_data("iris", None, 0.2, "x").X_test.to_csv(rclone.path("in.csv"), index=False)
        yield dataclasses.replace(rclone, port=proxy.port), proxy


def test_a_client_that_goes_away_leaves_the_whole_output(file_model, objects, tmp_path):
    store, proxy = objects
    held, go_on = threading.Event(), threading.Event()

    def hold(exchange):
        held.set()
        assert go_on.wait(60)
        exchange.forward()

    proxy.inject(hold)
    job = {
        "input_url": store.presign("get_object", "in.csv"),
        "output_url": store.presign("put_object", "out.csv"),
    }
    body = json.dumps({"inputs": job}).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(file_model, **store.settings) as (_, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert held.wait(60)
        assert not store.path("out.csv").exists()
        go_on.set()
        while b'proto_model_jobs{kind="file"} 0' not in get(port, "/metrics")[1]:
            time.sleep(0.02)
        n_lines = len(store.path("out.csv").read_text().splitlines())

    assert n_lines == len(store.path("in.csv").read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_job_that_is_in_the_way_of_the_end_is_stopped_and_leaves_nothing(
    file_model, objects, tmp_path, workers
):
    store, proxy = objects
    temp = tmp_path / "temp"
    temp.mkdir()
    settings = store.settings | {"PROTO_MODEL_FILES_TEMP_DIR": str(temp)}
    body = {
        "inputs": {
            "input_url": store.presign("get_object", "in.csv"),
            "output_url": store.presign("put_object", "out.csv"),
        }
    }
    in_the_middle = threading.Event()

    options = ("--workers", str(workers), "--drain-timeout-s", "1")
    with serving(file_model, *options, **settings) as (server, port):
        status, answer = post(port, "/invocations", body)
        assert (status, answer["predictions"][0]["status"]) == (200, "done"), answer
        assert store.path("out.csv").read_text().startswith("prediction,probability,")
        store.path("out.csv").unlink()
        proxy.inject(passed, hold_upload(in_the_middle))
        answers = []
        client = threading.Thread(target=lambda: answers.append(post(port, "/invocations", body)))
        client.start()
        assert in_the_middle.wait(60)

        server.send_signal(signal.SIGTERM)

        assert server.wait(30) == 0
        client.join()
    assert answers[0][0] == 503
    assert "The server is ending" in answers[0][1]["message"]
    assert not store.path("out.csv").exists()
    assert not list(temp.iterdir())


def test_workers_share_the_port_and_one_that_dies_is_replaced(local_model):
    with serving(local_model, "--workers", "2") as (server, port):
        before = children(server.pid)
        assert len(before) == 2
        for _ in range(40):
            assert post(port, "/invocations", BODY)[0] == 200
        page = get(port, "/metrics")[1].decode()

        os.kill(before[0], signal.SIGKILL)
        end = time.monotonic() + 30
        while len(set(children(server.pid)) - set(before)) == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert post(port, "/invocations", BODY)[0] == 200

    assert 'proto_model_requests_total{route="invocations",status="200"} 40\n' in page
    assert "proto_model_workers 2\n" in page


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-m", "no/such/folder"], 2, "There is no folder no/such/folder"),
        (["-m", str(SRC)], 1, "not a model of proto_model"),
        (["-m", "models:/no_such_model@champion"], 2, "no_such_model"),
        (["-p", "TAKEN"], 2, "the address is in use. Choose another port with -p"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(store, options, code, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = [str(taken.getsockname()[1]) if option == "TAKEN" else option for option in options]
        done = subprocess.run(
            [sys.executable, "-m", "proto_model", "serve", "-m", str(store[1]), "-p", "0", *options],
            env=os.environ | {"PYTHONPATH": str(SRC), "MLFLOW_TRACKING_URI": store[0]},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_option_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "proto_model", "serve", "--workers", "0"],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert "a whole number from 1 expected" in done.stderr
