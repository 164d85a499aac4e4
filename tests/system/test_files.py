"""File jobs under each of the servers, through a store that checks signatures."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from proto_model.model import write_bundle
from proto_model.registry.logged_model import CODE, save_model
from proto_model.registry.signature import file_signature
from proto_model.table import TrainingData, encode, load_training_data
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.fault_proxy import Exchange, FaultProxy, cut_download, hold_upload, passed, status
from tests.file_servers import ROOT, Kind, Server, get, mapping, mlserver_python, post, serving, wait_until

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
]

KINDS: tuple[Kind, ...] = ("mlflow", "lean", "mlserver")


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return load_training_data("iris", None, 0.2, "proto_model")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, data: TrainingData) -> Path:
    """A served model for files, without a tracking server."""
    folder = tmp_path_factory.mktemp("model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    signature = file_signature()
    save_model(folder / "model", bundle=folder / "bundle", code=CODE / "file.py", signature=signature)
    return folder / "model"


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, data: TrainingData
) -> Iterator[tuple[ObjectStore, FaultProxy]]:
    """The store behind a proxy, with a file to score."""
    with (
        ObjectStore.running(tmp_path_factory.mktemp("store")) as rclone,
        FaultProxy(rclone.port) as proxy,
    ):
        data.X_test.to_csv(rclone.path("in.csv"), index=False)
        data.X_test.to_parquet(rclone.path("in.parquet"))
        yield dataclasses.replace(rclone, port=proxy.port), proxy


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest,
    model_folder: Path,
    store: tuple[ObjectStore, FaultProxy],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    with serving(
        request.param, model_folder, tmp_path_factory.mktemp("server"), **_settings(store)
    ) as server:
        yield server


def _settings(store: tuple[ObjectStore, FaultProxy]) -> dict[str, str]:
    return store[0].settings | {"PROTO_MODEL_FILES_BACKOFF_S": "0.01", "MLFLOW_LOGGING_LEVEL": "DEBUG"}


def _job(store: ObjectStore, key: str, out: str) -> dict[str, str]:
    return {
        "input_url": store.presign("get_object", key),
        "output_url": store.presign("put_object", out),
        "file_id": key,
    }


def test_a_request_of_several_jobs(
    server: Server, store: tuple[ObjectStore, FaultProxy], data: TrainingData
) -> None:
    signed, _ = store

    done, lost, other = server.invoke(
        _job(signed, "in.csv", "a"),
        _job(signed, "none", "b"),
        _job(signed, "in.parquet", "c"),
        output_format="parquet",
    )

    assert (done["status"], lost["status"], other["status"]) == ("done", "failed", "done")
    assert done["rows"] == other["rows"] == len(data.X_test)
    assert not signed.path("b").exists()
    pd.testing.assert_frame_equal(pd.read_parquet(signed.path("a")), pd.read_parquet(signed.path("c")))


def test_a_request_as_the_mapper_sends_it(server: Server, store: tuple[ObjectStore, FaultProxy]) -> None:
    job = {name: [value] for name, value in _job(store[0], "in.csv", "m").items()}
    body = {"inputs": job, "params": {"passthrough": ["petal width (cm)"]}}

    _, answer = post(f"{server.url}/invocations", body)

    [summary] = answer["predictions"]
    assert (summary["status"], summary["file_id"]) == ("done", "in.csv")
    assert store[0].path("m").read_text().startswith("petal width (cm),prediction,probability,")


def test_nothing_of_a_failing_run_shows_a_signature(
    server: Server, store: tuple[ObjectStore, FaultProxy], model_folder: Path, tmp_path: Path
) -> None:
    signed, proxy = store
    good = _job(signed, "in.csv", "x")
    wrong_key = dataclasses.replace(signed, secret_key="0")
    away = "https://10.1.1.1/k?X-Amz-Signature=aaaa5ec4e7aaaa"
    jobs = [
        _job(signed, "none", "x"),
        _job(wrong_key, "in.csv", "x"),
        good | {"output_url": wrong_key.presign("put_object", "x")},
        good | {"output_url": signed.presign("get_object", "x")},
        good | {"input_url": away},
        good | {"output_url": away},
        good | {"input_url": f"{good['input_url']}\n"},
        good | {"input_url": good["input_url"].replace("http", "ftp")},
        good | {"input_url": good["input_url"].replace("127.0.0.1", "127.1")},
        good | {"output_url": good["output_url"].replace("http://", "http://me:word@")},
        good | {"output_url": re.sub("Expires=[0-9]+", "Expires=soon", good["output_url"])},
        {"input_url": good["input_url"]},
    ]
    told_by_the_store = status("302 Found", Location=good["input_url"])
    bodies = [
        *({"dataframe_records": [job]} for job in jobs),
        {"dataframe_records": jobs, "params": {"on_bad_row": "skip"}},
        {"dataframe_records": jobs, "params": {"nobody": 1}},
        {"dataframe_records": good["input_url"]},
        {"dataframe_split": {"columns": ["input_url"], "data": [list(good.values())]}},
        {"inputs": [good["input_url"]]},
        {"input_url": good["input_url"]},
        [good],
    ]
    if server.kind != "mlflow":  # MLflow's own server answers a body that is no JSON with that body
        bodies.append(json.dumps({"dataframe_records": [good]})[:-1].encode())

    shown = []
    with mapping(model_folder, server.url, tmp_path) as mapper:
        for body in bodies:
            shown.append(post(f"{server.url}/invocations", body))
        for job in jobs:
            shown.append(post(f"{mapper}/v1/predict", {"file": job}))
        shown.append(post(f"{mapper}/v1/predict", {"file": good, "parameters": {"on_bad_row": "skip"}}))
        shown.append(post(f"{mapper}/v1/predict", json.dumps({"file": good})[:-1].encode()))
        for faults in ([cut_download(10)] * 5, [status("500 Oops")] * 5, [told_by_the_store]):
            for url, body in (
                (f"{server.url}/invocations", {"dataframe_records": [good]}),
                (f"{mapper}/v1/predict", {"file": good}),
            ):
                proxy.inject(*faults)
                shown.append(post(url, body))
        metrics = [get(f"{mapper}/metrics"), *([get(server.metrics_url)] if server.metrics_url else [])]
    assert all(code != 200 or '"failed"' in json.dumps(answer) for code, answer in shown), shown
    text = json.dumps(shown)
    for expected in ("on_bad_row", "is not public", "403", "404", "gave up after 5", "redirect"):
        assert expected in text

    everything = "\n".join([text, *metrics])
    for folder in (tmp_path, server.log.parent):
        for path in folder.rglob("*"):
            if path.is_file() and "code" not in path.parts:  # the model's code has made-up URLs
                everything += path.read_bytes().decode("latin-1")
    secrets = {"X-Amz-", "aaaa5ec4e7aaaa", "word@"}
    for job in jobs:
        for url in (job["input_url"], job.get("output_url", "")):
            secrets.update(re.findall(r"(?:Signature|Credential)=([^&\s]+)", url))
    found = {
        secret: everything[max(0, everything.find(secret) - 300) :][:400]
        for secret in secrets
        if secret in everything
    }
    assert not found


def test_the_log_of_file_jobs_holds_nothing_of_the_files(
    server: Server,
    store: tuple[ObjectStore, FaultProxy],
    data: TrainingData,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    """Neither of rows that are rejected, nor of files that cannot be read, nor of what is passed through."""
    signed, _ = store
    mark, number = "Zaphod", "4711.0815"
    table = data.X_test.head(4).astype(object).assign(name=mark)
    table.iloc[1, 0] = mark
    table.iloc[2, 1] = number
    signed.path("marked.csv").write_text(table.to_csv(index=False))
    signed.path("marked.jsonl").write_text(
        table.to_json(orient="records", lines=True) + f'{{"{mark}": {mark}\n'
    )
    signed.path("other.csv").write_text(f"{mark},{mark}\n{mark},{number}\n")
    signed.path("torn.csv").write_bytes(table.to_csv(index=False).encode() + b'"' + mark.encode())
    signed.path("torn.parquet").write_bytes(signed.path("in.parquet").read_bytes()[:-9] + mark.encode())
    statuses = set()

    with mapping(model_folder, server.url, tmp_path) as mapper:
        for name in ("marked.csv", "marked.jsonl", "other.csv", "torn.csv", "torn.parquet"):
            for policy in ("fail", "mark"):
                job = _job(signed, name, "out.jsonl")
                params = {"on_bad_row": policy, "passthrough": ["name"], "output_format": "jsonl"}
                [summary] = server.invoke(job, **params)
                statuses.add(summary["status"])
                status, answer = post(f"{mapper}/v1/predict", {"file": job, "parameters": params})
                assert status == 200, answer
                assert answer["file"]["status"] == summary["status"]

    assert statuses == {"done", "failed"}
    assert mark in signed.path("out.jsonl").read_text()
    for log in (server.log, tmp_path / "mapper.log"):
        text = log.read_text()
        assert text
        assert mark not in text
        assert number not in text


def test_a_client_that_goes_away_leaves_no_half_output(
    server: Server, store: tuple[ObjectStore, FaultProxy]
) -> None:
    signed, proxy = store
    signed.path("gone").unlink(missing_ok=True)
    held, go_on = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.set()
        assert go_on.wait(60)
        exchange.forward()

    proxy.inject(hold)
    body = json.dumps({"dataframe_records": [_job(signed, "in.csv", "gone")]}).encode()
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address) as client:
        head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert held.wait(60)
    assert not signed.path("gone").exists()
    go_on.set()

    wait_until(signed.path("gone").exists)
    [again] = server.invoke(_job(signed, "in.csv", "whole"))
    assert again["status"] == "done"
    assert signed.path("gone").read_bytes() == signed.path("whole").read_bytes()
    assert not list(server.temp.iterdir())


def test_a_server_that_is_killed_or_stopped_leaves_no_output(
    server: Server, model_folder: Path, store: tuple[ObjectStore, FaultProxy], tmp_path: Path
) -> None:
    signed, proxy = store
    job = _job(signed, "in.csv", "cut")
    running = server
    with contextlib.ExitStack() as stack:
        # MLflow's server waits for the job on SIGTERM until a supervisor kills it, so one round shows both.
        for how in [signal.SIGTERM] if server.kind == "mlflow" else [signal.SIGKILL, signal.SIGTERM]:
            _end_in_the_middle_of_an_upload(running, how, job, proxy)
            assert not signed.path("cut").exists()
            assert not list(running.temp.iterdir())

            folder = tmp_path / how.name
            folder.mkdir()
            running = stack.enter_context(serving(server.kind, model_folder, folder, **_settings(store)))
            [again] = running.invoke(job)
            assert again["status"] == "done"
            signed.path("cut").unlink()


@pytest.mark.long
def test_predictions_go_on_while_a_large_file_is_scored(model_folder: Path, tmp_path: Path) -> None:
    mlserver = mlserver_python(model_folder).with_name("mlserver")
    command = [sys.executable, ROOT / "benchmarks" / "file_jobs.py", "--size-mb", "40", "--seconds", "1"]
    command += ["--server", "mlflow", "mlserver", "--mlserver", mlserver, "--json", tmp_path / "figures.json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [result["server"] for result in figures["servers"]] == ["mlflow", "mlserver"]
    for result in figures["servers"]:
        assert result["job"]["rows"] == figures["rows"] > 50_000
        assert result["failed"] == 0
        assert min(result[asked]["asked"] for asked in ("before", "during", "ready")) > 0
        assert (result["killed"], result["left_behind"]) == (0, 0)


def _end_in_the_middle_of_an_upload(
    server: Server, how: signal.Signals, job: dict[str, str], proxy: FaultProxy
) -> None:
    """Send the signal while the store has half of the output."""
    in_the_middle = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            post(f"{server.url}/invocations", {"dataframe_records": [job]})

    proxy.inject(passed, hold_upload(in_the_middle))
    client = threading.Thread(target=ask)
    client.start()
    assert in_the_middle.wait(60)
    os.killpg(server.process.pid, how)
    if how is signal.SIGTERM and server.kind == "mlflow":
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(60)
    client.join()
