"""The generated configuration under MLServer, in a virtual environment of its own, kept in build/venvs."""

import dataclasses
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.forest.pipeline import compiled_forest
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from proto_model.values import Rule, encode
from scripts.object_store import ObjectStore
from tests.fault_proxy import FaultProxy, hold_upload, passed
from tests.file_servers import mlserver_python
from tests.ports import free_ports
from tests.stores import fresh_store
from tests.terminal import START_S

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example, and on a model without one
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
]
ROOT = Path(__file__).parents[2]
PORTS = ("MLSERVER_HTTP_PORT", "MLSERVER_GRPC_PORT", "MLSERVER_METRICS_PORT")

GRPC = """
import json, sys, grpc
from mlserver.codecs import PandasCodec
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest
request = InferenceRequest.model_validate_json(sys.argv[2])
for tensor in request.inputs:
    if tensor.datatype == "BYTES":
        tensor.data.root = [text.encode() for text in tensor.data.root]
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = GRPCInferenceServiceStub(channel)
    answer = stub.ModelInfer(ModelInferRequestConverter.from_types(request, model_name="proto_model"))
frame = PandasCodec.decode_response(ModelInferResponseConverter.to_types(answer))
print(json.dumps(frame.to_dict("list"), default=bytes.decode))
"""


def port_variables():
    return dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))


LOGS = {}  # of servers, by their URLs


def generate(model_uri, environment):
    return subprocess.run(
        [ROOT / "generate_mlserver_configs.sh", *([model_uri] if model_uri else [])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def ports():
    return port_variables()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "age": rng.integers(18, 90, 300),
            "owner": rng.random(300) < 0.5,
            "job": rng.choice(["clerk", "nurse"], 300),
        }
    )
    frame["class"] = np.where((frame["size"] + frame["owner"]) > 0.4, "yes", "no")
    return prepare(RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False)))


@pytest.fixture(scope="module")
def pipeline(data):
    return make_pipeline("random_forest", data.schema, 0, n_estimators=20).fit(data.X_train, data.y_train)


@pytest.fixture(scope="module")
def environment(data, pipeline, ports, tmp_path_factory):
    """Variables under which the champion is found and the configuration is written."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        uri = fresh_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        experiment = mlflow.create_experiment("serve", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            infos = {
                "proto_model": log_forest_model(pipeline, data),
                "files": log_forest_model(pipeline, data, signature_kind="file"),
            }
        for name, info in infos.items():
            register_version(
                info.model_uri, name, run_id=run.info.run_id, description="", tags={}, alias="champion"
            )
        yield (
            os.environ
            | ports
            | {"BUILD_DIR": str(folder / "build"), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        )


@pytest.fixture(scope="module")
def build(environment):
    done = generate(None, environment)
    assert done.returncode == 0, done.stderr
    return Path(environment["BUILD_DIR"])


@pytest.fixture(scope="module")
def venv(build):
    """Python with MLServer and the model's requirements; made once per set of requirements."""
    return mlserver_python(build / "mlserver_configs" / "proto_model" / "artifact" / "model")


@contextmanager
def serving(venv, build, environment, folder):
    """URL and process of MLServer."""
    variables = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    log = (folder / "log").open("w")
    command = [venv.parent / "mlserver", "start", build]
    with log, subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{environment['MLSERVER_HTTP_PORT']}"
        end = time.monotonic() + START_S
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{url}/v2/models/proto_model/ready", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < end, (folder / "log").read_text()
                    time.sleep(0.1)
            yield url, process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def server(venv, build, environment, tmp_path_factory):
    """URL of MLServer."""
    folder = tmp_path_factory.mktemp("mlserver")
    with serving(venv, build, environment, folder) as (url, _):
        LOGS[url] = folder / "log"
        yield url


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def tensors(data):
    """V2 request for five test rows."""
    rows = data.X_test.head(5)
    datatypes = {"size": "FP64", "age": "INT64", "owner": "BOOL", "job": "BYTES"}
    native = {"size": float, "age": int, "owner": bool, "job": str}
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(rows), 1],
                "datatype": datatype,
                "data": [native[name](value) for value in rows[name]],
            }
            for name, datatype in datatypes.items()
        ]
    }


def expected(data, pipeline):
    rows = data.X_test.head(5)
    probabilities = pipeline.predict_proba(rows)
    return {
        "prediction": pipeline.predict(rows).tolist(),
        "probability": probabilities.max(axis=1).tolist(),
        "probability_no": probabilities[:, 0].tolist(),
        "probability_yes": probabilities[:, 1].tolist(),
    }


def test_invocations_answers_as_mlflow_does(server, data, pipeline):
    rows = data.X_test.head(5).astype({"age": int, "owner": bool})

    status, answer = call(f"{server}/invocations", {"dataframe_split": rows.to_dict("split", index=False)})

    assert status == 200, answer
    assert pd.DataFrame(answer["predictions"]).to_dict("list") == expected(data, pipeline)


def test_invocations_names_bad_rows_and_explains(server, data):
    row = data.X_test.astype({"age": int, "owner": bool}).iloc[0].to_dict()

    status, answer = call(f"{server}/invocations", {"dataframe_records": [row | {"age": 1.5, "job": None}]})
    _, explained = call(f"{server}/invocations", {"dataframe_records": [row], "params": {"explain": True}})

    assert status == 400
    assert "row 0, column 'age': 1.5 given, a whole number expected" in answer["message"]
    assert "row 0, column 'job': no value given" in answer["message"]
    assert explained["predictions"][0]["explanation"]["rule"]["text"]


def test_v2_rest_gives_the_same_predictions(server, tensors, data, pipeline):
    status, answer = call(f"{server}/v2/models/proto_model/infer", tensors)

    assert status == 200, answer
    assert {output["name"]: output["data"] for output in answer["outputs"]} == expected(data, pipeline)


def raw(url, body, content_type):
    """Status and text of the answer to a body as it is; without a Content-Type if there is none."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        headers = {} if content_type is None else {"Content-Type": content_type}
        connection.request("POST", parts.path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_v2_and_invocations_want_a_content_type_that_browsers_do_not_send_unasked(server, tensors, data):
    rows = data.X_test.head(5).astype({"age": int, "owner": bool})
    table = {"dataframe_split": rows.to_dict("split", index=False)}

    for path, content in (("/v2/models/proto_model/infer", tensors), ("/invocations", table)):
        body = json.dumps(content).encode()
        for kind in ("application/json", 'APPLICATION/Json; Charset="UTF-8"'):
            assert raw(server + path, body, kind)[0] == 200
        for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            status, text = raw(server + path, body, kind)
            if status == 422:  # MLServer itself refuses a type that it does not know
                assert path.startswith("/v2")
                assert "outputs" not in json.loads(text)
            else:
                assert (status, "Content-Type" in text) == (415, True), (path, kind, text)


MARK = "Zaphod"


def test_the_log_holds_nothing_that_a_request_held(server, tensors, data):
    row = data.X_test.head(1).astype({"age": int, "owner": bool}).to_dict("records")[0]
    bodies = [
        ("/invocations", {"dataframe_records": [{**row, "size": MARK, "owner": MARK, "job": [MARK]}]}),
        ("/invocations", {"dataframe_records": [row], "params": {"effort": MARK, MARK: MARK}}),
        ("/invocations", {"dataframe_split": {"columns": [MARK], "data": [[MARK]]}}),
        ("/invocations", {MARK: MARK}),
        (
            "/v2/models/proto_model/infer",
            {"inputs": [{**item, "data": [MARK]} for item in tensors["inputs"]]},
        ),
        ("/v2/models/proto_model/infer", {"inputs": [{**item, "name": MARK} for item in tensors["inputs"]]}),
        (
            "/v2/models/proto_model/infer",
            {"inputs": [{**item, "datatype": MARK} for item in tensors["inputs"]]},
        ),
        ("/v2/models/proto_model/infer", {**tensors, "parameters": {"effort": MARK, MARK: MARK}}),
        ("/v2/models/proto_model/infer", {MARK: MARK}),
    ]
    for path, content in bodies:
        status, text = raw(server + path, json.dumps(content).encode(), "application/json")
        assert 400 <= status < 500, (path, content, text)
    assert raw(f"{server}/invocations", f'{{"{MARK}'.encode(), "application/json")[0] == 400
    status, _ = call(f"{server}/invocations", {"dataframe_records": [{**row, "job": MARK}]})
    assert status == 200

    log = LOGS[server].read_text()
    assert "HTTP server running" in log
    assert MARK not in log


CASES = json.loads((ROOT / "schemas" / "cases" / "values.json").read_text(encoding="utf-8"))["cases"]
FEATURE_OF = {"number": "size", "whole": "age", "truth": "owner", "job": "job"}


def test_every_value_of_the_cases_has_its_verdict(server, data, pipeline):
    row = data.X_test.astype({"age": int, "owner": bool}).iloc[0].to_dict()
    features = {feature.name: feature for feature in data.schema.features}
    forest = compiled_forest(pipeline, data.schema)
    datatypes = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
    n_accepted = n_refused = 0

    for case in CASES:
        name, value = FEATURE_OF.get(case["feature"].removeprefix("required ")), case["value"]
        if name is None:
            continue
        code, fault = Rule(features[name]).read(value)
        answers = [call(f"{server}/invocations", {"dataframe_records": [row | {name: value}]})]
        if type(value) in datatypes and not (type(value) is int and abs(value) >= 2**63):
            cells = row | {name: value}
            inputs = [
                {"name": key, "shape": [1, 1], "datatype": datatypes[type(cell)], "data": [cell]}
                for key, cell in cells.items()
            ]
            answers.append(call(f"{server}/v2/models/proto_model/infer", {"inputs": inputs}))
        if fault:
            n_refused += len(answers)
            assert [status for status, _ in answers] == [400] * len(answers), (case, answers)
            continue
        matrix = encode(data.X_test.head(1), data.schema)
        matrix[0, list(features).index(name)] = code
        probability = forest.predict_proba(matrix)[0, 1]
        n_accepted += len(answers)
        for status, answer in answers:
            assert status == 200, (case, answer)
            found = (
                answer["predictions"][0]["probability_yes"]
                if "predictions" in answer
                else next(o["data"][0] for o in answer["outputs"] if o["name"] == "probability_yes")
            )
            assert found == probability, case

    assert min(n_accepted, n_refused) > 40


def test_v2_grpc_gives_the_same_predictions(server, venv, ports, tensors, data, pipeline):
    done = subprocess.run(
        [venv, "-c", GRPC, f"127.0.0.1:{ports['MLSERVER_GRPC_PORT']}", json.dumps(tensors)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected(data, pipeline)


def test_a_model_of_numbers_takes_rows_without_names_and_one_tensor_in_both_protocols(
    venv, environment, data, pipeline, server, tmp_path, monkeypatch
):
    row = [[0.5, 40, True, "nurse"]]
    status, answer = call(f"{server}/invocations", {"inputs": row})
    assert status == 400
    assert "takes text for some columns, such as 'job'" in answer["message"]

    names = ["size", "age", "owner"]
    frame = data.X_train[names].astype({"age": int, "owner": bool}).assign(label=data.y_train)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    numbers = prepare(RawTable("numbers", "numbers", table), target="label")
    forest = make_pipeline("random_forest", numbers.schema, 0, n_estimators=5)
    forest.fit(numbers.X_train, numbers.y_train)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("serve").experiment_id):
        info = log_forest_model(forest, numbers)
    environment = environment | port_variables() | {"BUILD_DIR": str(tmp_path / "build")}
    done = generate(info.model_uri, environment)
    assert done.returncode == 0, done.stderr
    rows = [[1.5, 40, 1], [-0.25, 50, 0], [0.125, 60, 1]]
    tensor = {"name": "rows", "shape": [3, 3], "datatype": "FP64", "data": [v for row in rows for v in row]}

    with serving(venv, environment["BUILD_DIR"], environment, tmp_path) as (url, _):
        _, named = call(f"{url}/invocations", {"dataframe_split": {"columns": names, "data": rows}})
        expected = {name: [row[name] for row in named["predictions"]] for name in named["predictions"][0]}
        for key in ("inputs", "instances"):
            assert call(f"{url}/invocations", {key: rows}) == (200, named)
        for changes in ({}, {"data": rows}, {"datatype": "FP32"}):
            status, answer = call(f"{url}/v2/models/proto_model/infer", {"inputs": [tensor | changes]})
            assert status == 200, answer
            assert {output["name"]: output["data"] for output in answer["outputs"]} == expected
        target = f"127.0.0.1:{environment['MLSERVER_GRPC_PORT']}"
        request = json.dumps({"inputs": [tensor]})
        done = subprocess.run([venv, "-c", GRPC, target, request], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected
        for body, words in (
            ({"inputs": [[1.5, 40.5, 1]]}, "row 0, column 'age': 40.5 given, a whole number expected"),
            ({"inputs": [[1.5, 40, True], [1.5]]}, "Row 1 has 1 values, lists expected with 3 values each"),
        ):
            status, answer = call(f"{url}/invocations", body)
            assert status == 400
            assert words in answer["message"]
        for changes, words in (
            ({"shape": [9, 1]}, "is not that of all columns in one, [n_rows, 3]"),
            ({"data": [1.5] * 9}, "row 0, column 'age': 1.5 given, a whole number expected"),
        ):
            status, answer = call(f"{url}/v2/models/proto_model/infer", {"inputs": [tensor | changes]})
            assert status == 400
            assert words in answer["error"]


def test_metadata_names_the_columns_and_their_types(server):
    _, metadata = call(f"{server}/v2/models/proto_model")

    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]] == [
        ("size", "FP64"),
        ("age", "INT64"),
        ("owner", "BOOL"),
        ("job", "BYTES"),
    ]
    assert metadata["outputs"][0]["name"] == "prediction"


def test_the_configuration_can_be_written_again_and_a_failure_leaves_it(build, environment):
    settings = build / "mlserver_configs" / "proto_model" / "model-settings.json"
    before = settings.read_bytes()

    assert generate("models:/proto_model@champion", environment).returncode == 0
    assert settings.read_bytes() == before

    failed = generate("models:/no_such_model@champion", environment)
    assert failed.returncode == 2
    assert "no_such_model" in failed.stderr
    assert settings.read_bytes() == before
    assert sorted(path.name for path in (build / "mlserver_configs").iterdir()) == ["proto_model"]


def test_the_script_explains_itself(environment):
    assert "models:/proto_model@champion" in generate("--help", environment).stdout
    assert generate("--nonsense", environment).returncode == 2


@pytest.fixture(scope="module")
def objects(data, tmp_path_factory):
    """A store behind a proxy, with a file to score."""
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as rclone, FaultProxy(rclone.port) as proxy:
        data.X_test.to_csv(rclone.path("in.csv"), index=False)
        yield dataclasses.replace(rclone, port=proxy.port), proxy


def test_a_version_for_files_answers_summaries_and_is_not_in_the_way_of_the_end(
    venv, environment, objects, data, tmp_path
):
    store, proxy = objects
    temp = tmp_path / "temp"
    temp.mkdir()
    environment = (
        environment
        | store.settings
        | port_variables()
        | {"BUILD_DIR": str(tmp_path / "with space"), "PROTO_MODEL_FILES_TEMP_DIR": str(temp)}
        | {"PROTO_MODEL_SERVER_DRAIN_TIMEOUT_S": "1"}
    )
    job = {
        "input_url": store.presign("get_object", "in.csv"),
        "output_url": store.presign("put_object", "out.csv"),
    }
    in_the_middle = threading.Event()

    generated = generate("models:/files@champion", environment)
    assert generated.returncode == 0, generated.stderr
    with serving(venv, environment["BUILD_DIR"], environment, tmp_path) as (url, process):
        status, answer = call(f"{url}/invocations", {"inputs": job, "params": {"output_format": "jsonl"}})
        assert status == 200, answer
        [summary] = answer["predictions"]
        assert (summary["status"], summary["rows"]) == ("done", len(data.X_test))
        assert len(store.path("out.csv").read_text().splitlines()) == len(data.X_test)

        tensors = [
            {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [value]}
            for name, value in job.items()
        ]
        status, answer = call(f"{url}/v2/models/proto_model/infer", {"inputs": tensors})
        assert status == 200, answer
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        assert outputs["status"] == ["done"]
        assert json.loads(outputs["summary"][0])["rows"] == len(data.X_test)
        store.path("out.csv").unlink()

        status, answer = call(f"{url}/invocations", {"inputs": {"input_url": "x"}})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")

        proxy.inject(passed, hold_upload(in_the_middle))
        answers = []
        client = threading.Thread(target=lambda: answers.append(call(f"{url}/invocations", {"inputs": job})))
        client.start()
        assert in_the_middle.wait(60)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        client.join()

    assert answers[0][0] == 503
    assert "The server is ending" in answers[0][1]["message"]
    assert not store.path("out.csv").exists()
    assert not list(temp.iterdir())
