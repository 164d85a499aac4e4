"""A model for files behind the app, with a store that checks signatures, and behind MLflow's own code."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from proto_model.errors import ProtoModelError
from proto_model.model import write_bundle
from proto_model.registry.logged_model import CODE, save_model
from proto_model.registry.signature import file_signature
from proto_model.serving.http import ServedModel
from proto_model.table import encode
from scripts.object_store import ObjectStore

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory, mixed_data) -> Iterator[ObjectStore]:
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        mixed_data.X_test.to_csv(store.path("in.csv"), index=False)
        yield store


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mixed_pipeline, mixed_data) -> Path:
    """Folder of a logged model for files."""
    folder = tmp_path_factory.mktemp("model")
    write_bundle(
        folder / "bundle", mixed_pipeline, mixed_data.schema, encode(mixed_data.X_train, mixed_data.schema)
    )
    signature = file_signature()
    save_model(folder / "model", bundle=folder / "bundle", code=CODE / "file.py", signature=signature)
    return folder / "model"


@pytest.fixture(scope="module")
def files(folder, store, tmp_path_factory) -> ServedModel:
    temp = tmp_path_factory.mktemp("temp")
    return ServedModel.load(folder, store.settings | {"PROTO_MODEL_FILES_TEMP_DIR": str(temp)})


@pytest.fixture
def send(files, make_app, ask):
    """Function that sends JSON to an app."""

    def send(body, path="/invocations", content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(ask(make_app(files), "POST", path, data, {"Content-Type": content_type}))

    return send


@pytest.fixture(scope="module")
def mlflow_answer(folder, store):
    """Function from a body to status and JSON of `mlflow models serve`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.settings.items():
            patch.setenv(name, value)
        model = mlflow.pyfunc.load_model(str(folder))

    def answer(body):
        try:
            response = scoring_server.invocations(json.dumps(body).encode(), "application/json", model, None)
        except MlflowException as error:
            return error.get_http_status_code(), error.message
        return response.status, json.loads(response.response)

    return answer


def job(store, out, key="in.csv", **more):
    return {
        "input_url": store.presign("get_object", key),
        "output_url": store.presign("put_object", out),
    } | more


def forms(jobs):
    columns = {name: [record.get(name) for record in jobs] for name in jobs[0]}
    return {
        "dataframe_records": jobs,
        "dataframe_split": {
            "columns": list(columns),
            "data": [list(record.values()) for record in jobs],
        },
        "inputs": columns,
        "instances": jobs,
    }


def without_seconds(predictions):
    for summary in predictions:
        assert summary.pop("seconds") >= 0
    return predictions


@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs", "instances"])
def test_jobs_are_answered_as_mlflow_does(send, mlflow_answer, store, form):
    # Of instances MLflow makes arrays of texts, in which null is "None".
    last = "last" if form == "instances" else None
    jobs = [job(store, "a", file_id="first"), job(store, "b", key="none", file_id=last)]
    body = {form: forms(jobs)[form], "params": {"output_format": "jsonl", "passthrough": ["age"]}}

    reply = send(body)
    status, expected = mlflow_answer(body)

    assert reply.status == status == 200
    summaries = reply.json["predictions"]
    assert without_seconds(summaries) == without_seconds(expected["predictions"])
    assert [summary["status"] for summary in summaries] == ["done", "failed"]
    assert store.path("a").read_text().startswith('{"age":')


def test_a_job_may_be_one_object_of_texts_and_explain(send, store):
    store.path("two.csv").write_text("".join(store.path("in.csv").read_text().splitlines(keepends=True)[:3]))

    reply = send(
        {"inputs": job(store, "e.jsonl", "two.csv"), "params": {"explain": True, "output_format": "jsonl"}}
    )

    assert reply.json["predictions"][0]["rows"] == 2
    lines = store.path("e.jsonl").read_text().splitlines()
    assert [set(json.loads(line)["explanation"]) >= {"rule"} for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"dataframe_records": [{"input_url": "x"}]}, "Columns missing: ['output_url']"),
        ({"dataframe_records": []}, "Columns missing: ['input_url', 'output_url']"),
        (
            {"dataframe_records": [{"input_url": "x", "output_url": "y"}], "params": {"on_bad_row": "skip"}},
            "on_bad_row: 'skip' given",
        ),
        (
            {
                "dataframe_records": [{"input_url": "x", "output_url": "y"}],
                "params": {"explain": True, "effort": "much"},
            },
            "effort",
        ),
    ],
)
def test_wrong_requests_are_refused_as_mlflow_does(send, mlflow_answer, body, words):
    reply = send(body)
    status, message = mlflow_answer(body)

    assert reply.status == status == 400
    assert words in reply.json["message"]
    assert reply.json["message"] == message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"input_url,output_url\nx,y\n", 400, "not JSON"),
        ({"dataframe_split": {"columns": ["input_url", "output_url"], "data": [["SECRET"]]}}, 400, "Row 0"),
        (
            {"dataframe_split": {"columns": ["input_url"] * 2, "data": [["SECRET"] * 2]}},
            400,
            "more than once",
        ),
        ({"dataframe_split": {"columns": None, "data": [[]]}}, 400, "a list of names"),
        ({"inputs": {"input_url": ["SECRET"], "output_url": ["a", "b"]}}, 400, "different numbers"),
        (
            {"inputs": {"input_url": ["a"], "output_url": ["b"]}, "params": {"passthrough": 3}},
            400,
            "passthrough",
        ),
        ({"inputs": [{"input_url": "a", "output_url": "b"}] * 1001}, 413, "1001 rows given, at most 1000"),
    ],
)
def test_what_is_no_table_of_jobs_is_named_without_its_values(send, body, status, words):
    reply = send(body)

    assert reply.status == status
    assert words in reply.json["message"]
    assert "SECRET" not in reply.json["message"]


def test_values_that_cannot_be_urls_or_texts_fail_in_their_own_row(send):
    body = b'{"inputs": {"input_url": [3, "\\ud800"], "output_url": [NaN, "x"], "file_id": [7, "\\ud800"]}}'

    reply = send(body)

    assert reply.status == 200, reply.body
    summaries = reply.json["predictions"]
    assert [summary["error_type"] for summary in summaries] == ["url", "url"]
    assert [summary["file_id"] for summary in summaries] == ["7", "?"]


def test_csv_is_refused(send):
    reply = send(b"input_url,output_url\nx,y\n", content_type="text/csv")

    assert reply.status == 415
    assert reply.json["message"] == "Content-Type 'text/csv' given, application/json expected."


def test_v2_takes_texts_and_gives_each_summary_as_one(send, store, files):
    def tensor(name, *data):
        return {"name": name, "shape": [len(data), 1], "datatype": "BYTES", "data": list(data)}

    jobs = [job(store, "v"), job(store, "w", key="none")]
    inputs = [tensor(name, *(item[name] for item in jobs)) for name in ("input_url", "output_url")]
    body = {
        "id": "7",
        "inputs": [*inputs, tensor("file_id", "f", None)],
        "parameters": {"passthrough": "age"},
    }

    answer = send(body, "/v2/models/proto_model/infer").json
    status_only = send(body | {"outputs": [{"name": "status"}]}, "/v2/models/proto_model/infer").json
    refused = send({"inputs": [tensor("input_url", 3)]}, "/v2/models/proto_model/infer")

    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert (answer["id"], outputs["file_id"], outputs["status"]) == ("7", ["f", ""], ["done", "failed"])
    assert [json.loads(text)["status"] for text in outputs["summary"]] == ["done", "failed"]
    assert store.path("v").read_text().startswith("age,prediction,")
    assert [(output["name"], output["shape"]) for output in status_only["outputs"]] == [("status", [2, 1])]
    assert refused.status == 400
    assert refused.json["error"] == "Input 'input_url': the value of row 0 is not of datatype BYTES."


def test_metadata_names_urls(files, make_app, ask):
    reply = asyncio.run(ask(make_app(files), "GET", "/v2/models/proto_model"))

    assert [(tensor["name"], tensor["datatype"]) for tensor in reply.json["inputs"]] == [
        ("input_url", "BYTES"),
        ("output_url", "BYTES"),
        ("file_id", "BYTES"),
    ]


def test_a_misspelt_setting_is_an_error(folder):
    with pytest.raises(ProtoModelError, match="Unknown variable PROTO_MODEL_FILES_ALLOW_HTP"):
        ServedModel.load(folder, {"PROTO_MODEL_FILES_ALLOW_HTP": "true"})


@pytest.fixture
def held(files, monkeypatch):
    """Predictions that wait until they are let go; set when one waits."""
    waiting, go = threading.Semaphore(0), threading.Event()
    predict = files.predictor.bundle.engine.predict_proba

    def wait(*arguments, **options):
        waiting.release()
        assert go.wait(60)
        return predict(*arguments, **options)

    monkeypatch.setattr(files.predictor.bundle.engine, "predict_proba", wait, raising=False)
    yield waiting, go
    go.set()


def test_no_more_requests_than_allowed_are_at_work_and_wait(files, held, store, make_app, ask):
    waiting, go = held

    async def scenario():
        app = make_app(files, file_jobs=1, max_waiting_files=1)
        bodies = [json.dumps({"inputs": job(store, out)}).encode() for out in ("1", "2", "3")]
        first = asyncio.create_task(ask(app, "POST", "/invocations", bodies[0], JSON))
        assert await asyncio.to_thread(waiting.acquire, timeout=60)
        second = asyncio.create_task(ask(app, "POST", "/invocations", bodies[1], JSON))
        await asyncio.sleep(0)
        page = (await ask(app, "GET", "/metrics")).body.decode()
        third = await ask(app, "POST", "/invocations", bodies[2], JSON)
        go.set()
        return page, third, await asyncio.gather(first, second)

    page, refused, done = asyncio.run(scenario())

    assert 'proto_model_jobs{kind="file"} 2\n' in page
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert [reply.json["predictions"][0]["status"] for reply in done] == ["done", "done"]
    assert store.path("1").exists()
    assert store.path("2").exists()
    assert not store.path("3").exists()


def test_jobs_end_with_the_server_and_upload_nothing(files, held, store, make_app, ask):
    waiting, go = held

    async def scenario():
        app = make_app(files, file_jobs=1)
        body = json.dumps({"inputs": job(store, "late")}).encode()
        first = asyncio.create_task(ask(app, "POST", "/invocations", body, JSON))
        assert await asyncio.to_thread(waiting.acquire, timeout=60)
        second = asyncio.create_task(ask(app, "POST", "/invocations", body, JSON))
        await asyncio.sleep(0)
        app.close()
        go.set()
        return await first, await second, await ask(app, "POST", "/invocations", body, JSON)

    at_work, waiting_one, third = asyncio.run(scenario())

    [summary] = at_work.json["predictions"]
    assert (summary["status"], summary["error_type"]) == ("failed", "transfer")
    assert summary["error"] == "The server is ending. Send the request again."
    assert waiting_one.status == third.status == 503
    assert waiting_one.json["message"] == third.json["message"] == summary["error"]
    assert not store.path("late").exists()


def test_jobs_end_when_their_time_is_over_and_their_thread_is_free_again(files, held, store, make_app, ask):
    _, go = held

    async def scenario():
        app = make_app(files, file_jobs=1, max_waiting_files=0, file_timeout_s=0.3)
        body = json.dumps({"inputs": job(store, "slow")}).encode()
        slow = await ask(app, "POST", "/invocations", body, JSON)
        refused = await ask(app, "POST", "/invocations", body, JSON)
        go.set()
        while b'proto_model_jobs{kind="file"} 0' not in (await ask(app, "GET", "/metrics")).body:
            await asyncio.sleep(0.01)
        return slow, refused

    slow, refused = asyncio.run(scenario())

    assert (slow.status, refused.status) == (504, 503)
    assert "No answer within 0.3 s. Its jobs are stopped and upload nothing more." in slow.json["message"]
    assert not store.path("slow").exists()
