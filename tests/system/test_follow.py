"""`serve --follow` for real: promotions under load, what keeps a version from being taken over."""

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.fault_proxy import FaultProxy
from tests.ports import free_port
from tests.stores import fresh_store
from tests.system.test_lean_server import get, post, serving
from tests.tracking_server import tracking_server
from tests.trainings import no_modules

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
ROOT = Path(__file__).parents[2]
N_SWAPS = int(os.environ.get("N_SWAPS", "4"))
N_CLIENTS = 4
ROW = {"size": 2.0, "age": 40.0}
WAIT_S = 60


def table(columns):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({name: rng.normal(size=120).round(3) for name in columns})
    frame["class"] = (frame["size"] > 0).astype(int)
    return prepare(RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False)))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Client of a registry with versions 1 and 2, which say the opposite, and 3, of another schema."""
    folder = tmp_path_factory.mktemp("follow")
    with pytest.MonkeyPatch.context() as patch:
        uri = fresh_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        experiment = mlflow.create_experiment("follow", artifact_location=(folder / "artifacts").as_uri())
        data, other = table(["size", "age"]), table(["size"])
        with mlflow.start_run(experiment_id=experiment), no_modules():
            for of, y in ((data, data.y_train), (data, 1 - data.y_train), (other, other.y_train)):
                pipeline = make_pipeline("random_forest", of.schema, 0, n_estimators=5)
                info = log_forest_model(pipeline.fit(of.X_train, y), of)
                register_version(info.model_uri, "people", tags={})
        yield MlflowClient(uri)
        mlflow.set_tracking_uri(None)


@pytest.fixture
def champion(registry):
    """Function that makes a version champion; the first one is."""

    def promote(version):
        registry.set_registered_model_alias("people", "champion", version)

    promote("1")
    return promote


def ask(connection, path="/invocations", **params):
    """Status, version and content of an answer about the row, three times."""
    body = json.dumps({"dataframe_records": [ROW] * 3, "params": params})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.headers["x-model-version"], json.loads(reply.read())


def connect(port):
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S))


def version_of(port, path="/invocations"):
    """Version that answers over a new connection, so that any worker may."""
    with connect(port) as connection:
        return ask(connection, path)[1]


def answers_with(port, version, path="/invocations"):
    until(lambda: {version_of(port, path) for _ in range(8)} == {version})


def ready(port):
    return json.loads(get(port, "/v2/health/ready")[1])


def until(condition):
    end = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(OSError):  # of a process that was killed, or that begins
            if found := condition():
                return found
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.long), 2])
def test_promotions_under_load_fail_no_request_and_mix_no_answer(registry, champion, n_workers):
    seen, faults, stop = set(), [], threading.Event()

    def load(port, explain):
        with connect(port) as connection:
            while not stop.is_set():
                status, version, answer = ask(connection, explain=explain)
                rows = answer["predictions"] if status == 200 else []
                labels = {row["prediction"] for row in rows}
                labels |= {row["explanation"]["prediction"] for row in rows if explain}
                seen.add((version, tuple(labels)))
                if status != 200 or len(labels) != 1:
                    faults.append((status, version, answer))

    with serving("models:/people@champion", "--follow", "0.1", "--workers", str(n_workers)) as (_, port):
        clients = [threading.Thread(target=load, args=(port, place == 0)) for place in range(N_CLIENTS)]
        for client in clients:
            client.start()
        try:
            for number in range(N_SWAPS):
                champion("21"[number % 2])
                answers_with(port, "21"[number % 2])
        finally:
            stop.set()
            for client in clients:
                client.join()
        state = ready(port)["models"][0]

    assert faults == []
    # Each version has an answer of its own, so a label that names the other one would be seen.
    assert len(seen) == 2
    assert {version for version, _ in seen} == {"1", "2"}
    assert state["worker_versions"] == ["12"[N_SWAPS % 2]] * n_workers


def test_what_cannot_be_taken_over_is_told_once_and_the_old_version_goes_on(registry, champion):
    with serving("models:/people@champion", "--follow", "0.1") as (server, port):
        board = board_of(server.pid)
        with connect(port) as connection:
            assert ask(connection, explain=True)[:2] == (200, "1")
        champion("3")  # of another schema
        detail = until(lambda: following(port).get("detail"))
        assert (following(port)["problem"], following(port)["wanted_version"]) == ("schema", "3")
        assert "schema_digest" in detail
        assert 'problem="schema"} 1' in get(port, "/metrics")[1].decode()

        registry.delete_registered_model_alias("people", "champion")
        until(lambda: following(port).get("problem") == "alias")

        with broken(registry, "2"):
            champion("2")
            until(lambda: following(port).get("problem") == "version")
            assert get(port, "/ping")[0] == 200
            assert version_of(port) == "1"
            os.kill(server.pid, signal.SIGHUP)  # asks at once, whatever the pause
        answers_with(port, "2")

        assert "problem" not in following(port)
        page = get(port, "/metrics")[1].decode()
        (swaps,) = [line for line in page.splitlines() if line.startswith("proto_model_swaps_total{")]
        assert swaps.endswith('follows="models:/people@champion"} 1')
        # The folder of the version before goes when nothing uses it, processes that explain included.
        until(lambda: [path.name for path in (board / "0").iterdir()] == ["2"])


@pytest.mark.long
def test_a_registry_that_falls_silent_stops_no_answer_and_is_followed_again(registry, champion, tmp_path):
    start = partial(tracking_server, tmp_path, store=registry.tracking_uri)
    with ExitStack() as stack:
        with start() as http:
            variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http}"}
            _, port = stack.enter_context(serving("models:/people@champion", "--follow", "0.1", **variables))
            assert version_of(port) == "1"
        until(lambda: following(port).get("problem") == "registry")
        champion("2")
        assert (version_of(port), get(port, "/ping")[0]) == ("1", 200)
        assert 'problem="registry"} 1' in get(port, "/metrics")[1].decode()
        with start(port=http):
            answers_with(port, "2")
            assert "problem" not in following(port)


def following(port):
    (state,) = ready(port)["models"]
    assert ready(port)["ready"]
    return state


def board_of(pid):
    """Folder in which a server keeps what is on offer, by its descriptors."""

    def found():
        links = [Path(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        return [link.resolve().parent for link in links if link.resolve().name == "leader"]

    return until(found)[0]


@contextlib.contextmanager
def broken(registry, version):
    """A version whose forest is cut off meanwhile."""
    source = registry.get_model_version_download_uri("people", version)
    folder = Path(mlflow.artifacts.download_artifacts(source)) if "://" not in source else None
    folder = folder or Path(source.removeprefix("file://"))
    forest = folder / "artifacts" / "bundle" / "forest.npz"
    whole = forest.read_bytes()
    forest.write_bytes(whole[:100])
    try:
        yield
    finally:
        forest.write_bytes(whole)


def test_a_server_without_follow_asks_when_it_gets_sighup_and_its_workers_may_die(registry, champion):
    with serving("models:/people@champion", "--workers", "2") as (server, port):
        champion("2")
        assert version_of(port) == "1"
        os.kill(server.pid, signal.SIGHUP)
        answers_with(port, "2")

        workers = [
            int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        ]
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: following(port)["worker_versions"] == ["2", "2"])
        answers_with(port, "2")


@pytest.fixture
def files(registry):
    """Name of a model for files, of which version 1 is champion, and 2 says the opposite."""
    name, data = "people_files", table(["size", "age"])
    with (
        no_modules(),
        mlflow.start_run(experiment_id=registry.get_experiment_by_name("follow").experiment_id),
    ):
        for y in (data.y_train, 1 - data.y_train):
            pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=5).fit(data.X_train, y)
            with warnings.catch_warnings():
                # mlflow 3.17 on a model without an input example
                warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
                warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method", UserWarning)
                info = log_forest_model(pipeline, data, signature_kind="file")
            register_version(info.model_uri, name, tags={})
    registry.set_registered_model_alias(name, "champion", "1")
    return name


def test_a_file_job_ends_on_the_version_on_which_it_began(registry, files, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def hold(data):
        begun.set()
        assert go_on.wait(WAIT_S)
        return data

    def score(key):
        urls = {
            "input_url": store.presign("get_object", "in.jsonl"),
            "output_url": store.presign("put_object", key),
        }
        body = {"dataframe_records": [urls], "params": {"output_format": "jsonl"}}
        status, answer = post(port, "/invocations", body)
        assert (status, answer["predictions"][0]["status"]) == (200, "done"), answer
        return [json.loads(line)["prediction"] for line in store.path(key).read_text().splitlines()]

    with ObjectStore.running(tmp_path / "store") as rclone, FaultProxy(rclone.port) as proxy:
        store = dataclasses.replace(rclone, port=proxy.port)
        rows = [{"size": size, "age": 40.0} for size in (-2.0, -1.0, 1.0, 2.0)]
        store.path("in.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options = (f"models:/{files}@champion", "--follow", "0.1")
        with serving(*options, **store.settings) as (server, port):
            board = board_of(server.pid)
            proxy.inject(lambda exchange: exchange.forward(edit_answered=hold))
            with ThreadPoolExecutor(1) as pool:
                job = pool.submit(score, "began.jsonl")
                assert begun.wait(WAIT_S)
                registry.set_registered_model_alias(files, "champion", "2")
                until(lambda: following(port)["version"] == "2")
                after = score("after.jsonl")
                held = sorted(path.name for path in (board / "0").iterdir())
                go_on.set()
                before = job.result(WAIT_S)

            assert before == [0, 0, 1, 1]
            assert after == [1, 1, 0, 0]
            assert held == ["1", "2"]  # what a job reads stays where it is until it ends
            until(lambda: [path.name for path in (board / "0").iterdir()] == ["2"])


def test_several_versions_answer_on_one_server(champion, registry):
    with serving("a=models:/people@champion", "-m", "b=models:/people/2") as (_, port):
        with connect(port) as connection:
            one, two = (ask(connection, f"/models/{name}/invocations") for name in "ab")
            by_alias = ask(connection, "/models/a/champion/invocations")
            missing = ask(connection, "/models/a/7/invocations")

        assert (one[:2], two[:2]) == ((200, "1"), (200, "2"))
        assert one[2] != two[2]
        assert by_alias == one == (200, version_of(port), one[2])
        assert missing[0] == 404
        assert missing[2]["message"] == (
            "There is no version '7' of 'a' here. There are 'a' (version 1, champion) and 'b' (version 2)."
        )
        assert post(port, "/v2/models/b/versions/2/infer", V2)[1]["model_version"] == "2"
        assert post(port, "/v2/repository/index", {})[1] == [
            {"name": "a", "version": "1", "state": "READY", "reason": ""},
            {"name": "b", "version": "2", "state": "READY", "reason": ""},
        ]
        page = get(port, "/metrics")[1].decode()
        assert page.count("proto_model_version_memory_bytes{") == 2


V2 = {
    "inputs": [
        {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]} for name, value in ROW.items()
    ]
}


def test_the_mapper_follows_too_and_names_the_version_that_answered(registry, champion):
    with serving("models:/people@champion", "--follow", "0.1") as (_, port), mapper(port) as mapped:
        seen = set()
        for version in ("2", "1"):
            champion(version)
            end = time.monotonic() + WAIT_S
            while json.loads(get(mapped, "/readyz")[1])["model"]["version"] != version:
                status, answer = post(mapped, "/v1/predict", {"data": ROW})
                assert status == 200
                seen.add((answer["model"]["version"], answer["predictions"][0]["prediction"]))
                assert time.monotonic() < end

    assert len(seen) == 2  # each version has an answer of its own


@contextlib.contextmanager
def mapper(port):
    """Port of a mapper that follows, in front of a model server."""
    mapped = free_port()
    command = [
        sys.executable,
        "-m",
        "mapper",
        "serve",
        "--schema",
        "models:/people@champion",
        "--follow",
        "60",
    ]
    command += ["--model-server-url", f"http://127.0.0.1:{port}", "--port", str(mapped)]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: get(mapped, "/healthz")[0] == 200)
            yield mapped
        finally:
            process.terminate()
