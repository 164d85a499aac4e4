"""Explanations by processes of their own: the same answers, whatever happens to the processes."""

import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest

from proto_model.model import Predictor, write_bundle
from proto_model.registry.logged_model import CODE, example_rows, save_model
from proto_model.registry.signature import rows_signature
from proto_model.serving.http import ServedModel
from proto_model.table import encode, load_training_data
from proto_model.training import make_pipeline
from tests.system.test_lean_server import get, post, serving

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks processes up in /proc"),
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
WAIT_S = 60
MANY = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a logged model, and records of its table."""
    folder = tmp_path_factory.mktemp("model")
    data = load_training_data("wine", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method", UserWarning)
        save_model(
            folder / "model",
            bundle=folder / "bundle",
            code=CODE / "forest.py",
            signature=rows_signature(data.schema),
            input_example=example_rows(encode(data.X_test, data.schema), data.schema),
        )
    return folder / "model", data.X_train.head(MANY).to_dict("records")


@pytest.fixture(scope="module")
def expected(model):
    """Explanations of the records, made in this process."""
    folder, records = model
    predictor: Predictor = ServedModel.load(folder).predictor
    answers = []
    for record in records:
        matrix = encode(pd.DataFrame([record]), predictor.schema)
        answers += predictor.explain(matrix, predictor.parameters({"explain": True}))
    return answers


def body(records, **params):
    return {"dataframe_records": records, "params": {"explain": True, **params}}


def explanations(port, records, **params):
    status, answer = post(port, "/invocations", body(records, **params))
    assert status == 200, answer
    return [row["explanation"] for row in answer["predictions"]]


def children(pid):
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def explainers(worker):
    """Processes that explain for a process that answers: the children of its child."""
    found = [explainer for nursery in children(worker) for explainer in children(nursery)]
    return [explainer for explainer in found if not is_gone(explainer)]


def is_at_work(pid):
    """Whether it is running, or wants to."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "R"
    return False


def is_gone(pid):
    """Whether it has ended, perhaps not yet reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition):
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def deaths(port):
    lines = get(port, "/metrics")[1].decode().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("proto_model_explainer_deaths_total"))


def test_processes_give_the_answers_that_threads_give(model, expected):
    folder, records = model
    v2 = {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [float(value)]}
            for name, value in records[0].items()
        ],
        "outputs": [{"name": "explanation"}],
    }
    with serving(folder, "--explainers", "2") as (server, port):
        assert explanations(port, records) == expected
        assert len(explainers(server.pid)) == 2
        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            one_by_one = clients.map(lambda record: explanations(port, [record]), records)
            assert [found for [found] in one_by_one] == expected
        tensor = post(port, "/v2/models/proto_model/infer", v2)[1]["outputs"][0]
        assert json.loads(tensor["data"][0]) == expected[0]
        status, error = post(port, "/invocations", body(records[:1], effort="huge"))
        assert (status, "effort" in error["message"]) == (400, True)
        assert len(explainers(server.pid)) == 2
    with serving(folder, "--explainers", "0") as (server, port):
        assert explanations(port, records[:3]) == expected[:3]
        assert not children(server.pid)


def test_an_explanation_survives_the_death_of_its_process(model, expected):
    folder, records = model
    with serving(folder, "--explainers", "1") as (server, port):
        assert explanations(port, records[:1]) == expected[:1]
        [process] = explainers(server.pid)
        with concurrent.futures.ThreadPoolExecutor(1) as client:
            answer = client.submit(explanations, port, records)
            until(lambda: is_at_work(process))
            os.kill(process, signal.SIGKILL)
            assert answer.result() == expected
        assert deaths(port) == "1"
        [process] = explainers(server.pid)
        os.kill(process, signal.SIGKILL)  # while it has nothing to do
        until(lambda: is_gone(process))
        assert explanations(port, records[:1]) == expected[:1]


def test_a_task_that_ends_its_processes_is_an_error_and_nobody_elses(model, expected):
    folder, records = model
    with serving(folder, "--explainers", "1") as (server, port):
        assert explanations(port, records[:1]) == expected[:1]
        stop = threading.Event()

        def kill():
            while not stop.is_set():
                for process in filter(is_at_work, explainers(server.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)

        with concurrent.futures.ThreadPoolExecutor(1) as killer:
            killed = killer.submit(kill)
            status, answer = post(port, "/invocations", body(records, effort="thorough"))
            stop.set()
            killed.result()
        assert status == 500
        assert "has died" in answer["message"]
        assert post(port, "/invocations", {"dataframe_records": records})[0] == 200
        assert explanations(port, records[:1]) == expected[:1]


def test_without_the_process_that_starts_others_threads_explain(model, expected):
    folder, records = model
    with serving(folder, "--explainers", "2") as (server, port):
        [nursery] = children(server.pid)
        os.kill(nursery, signal.SIGKILL)
        until(lambda: is_gone(nursery))
        assert explanations(port, records[:3]) == expected[:3]
        assert explanations(port, records[:3]) == expected[:3]


def test_an_explanation_that_nobody_awaits_any_more_ends(model):
    folder, records = model
    with serving(folder, "--explainers", "1", "--answer-timeout-s", "0.3") as (server, port):
        status, answer = post(port, "/invocations", body(records * 5, effort="thorough"))
        assert (status, answer["error_code"]) == (504, "DEADLINE_EXCEEDED")
        until(lambda: not explainers(server.pid))


@pytest.mark.parametrize("n_workers", ["1", "2"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_all_processes_end_with_the_one_that_answers(model, n_workers, end):
    folder, records = model
    with serving(folder, "--explainers", "2", "--workers", n_workers) as (server, port):
        workers = [server.pid] if n_workers == "1" else children(server.pid)
        for _ in range(8):  # any worker may answer
            explanations(port, records[:1])
        others = [nursery for worker in workers for nursery in children(worker)]
        others += [process for worker in workers for process in explainers(worker)]
        assert len(others) > len(workers)
        server.send_signal(end)
        assert server.wait(WAIT_S) == (0 if end == signal.SIGTERM else -signal.SIGKILL)
        until(lambda: all(map(is_gone, [*workers, *others])))
