"""A table with a date, a time, a text and a category of 200 levels, from training to every way of serving."""

import csv
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import jsonschema
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from proto_model.model import Bundle, Predictor, coded_rows
from proto_model.values import encode
from tests.ports import free_port
from tests.terminal import START_S
from tests.trainings import trained_in

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
MODEL = "models:/complaints@challenger"
WORDS = "order arrived parcel color nice slow fast thanks again hello box size staff price".split()
ROW = {
    "signup": "2023-05-05",
    "seen": "2024-02-01 03:00",
    "shop": "shop-010",
    "comment": "I want a refund, now!",
    "amount": 5.5,
}
COLUMNS = list(ROW)


def write_table(path, n_rows=500):
    rng = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "churn"])
        for i in range(n_rows):
            signup = date(2019, 1, 1) + timedelta(days=rng.randrange(1800))
            seen = datetime(2024, 1, 1) + timedelta(seconds=rng.randrange(90 * 86400))
            shop, words = rng.randrange(200), rng.sample(WORDS, 4)
            if angry := rng.random() < 0.4:
                words.insert(2, "refund")
            score = 2 * angry + 1.5 * (signup.year >= 2022) + (shop < 60) - 2 + rng.gauss(0, 0.4)
            day = "" if rng.random() < 0.05 else signup
            said = f"{' '.join(words)}, no {i}"
            amount = round(rng.uniform(1, 99), 2)
            churn = "yes" if score > 0 else "no"
            writer.writerow([day, f"{seen.isoformat()}Z", f"shop-{shop:03}", said, amount, churn])


def environment(**more):
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the table, a store, and the versions of a model."""
    folder = tmp_path_factory.mktemp("complaints")
    write_table(folder / "complaints.csv")
    settings = ("--target", "churn", "--registered-model-name", "complaints")
    trained_in(folder, "--dataset", "complaints.csv", *settings)
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    model = Path(mlflow.artifacts.download_artifacts(MODEL, dst_path=str(folder / "model")))
    mlflow.set_tracking_uri(None)
    return Bundle.load(model / "artifacts" / "bundle")


def model_of(bundle):
    """Folder of the model that was downloaded, which takes a server seconds less than its version does."""
    return bundle.folder.parents[1]


@pytest.fixture(scope="module")
def rows(folder):
    """Rows of the table, as texts and numbers."""
    return pd.read_csv(folder / "complaints.csv", keep_default_na=False)[COLUMNS]


@contextmanager
def serving(folder, name, ready, *command, **variables):
    with (folder / f"{name}.log").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment(**variables),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_S
        while not answers(ready):
            said = (folder / f"{name}.log").read_text()
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(30)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def post(url, body, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def bodies(frame):
    """The same rows in every form of a body."""
    records = frame.to_dict("records")
    return {
        "split": ({"dataframe_split": {"columns": COLUMNS, "data": frame.to_numpy().tolist()}}, None),
        "records": ({"dataframe_records": records}, None),
        "inputs": ({"inputs": {name: frame[name].tolist() for name in COLUMNS}}, None),
        "instances": ({"instances": records}, None),
        "csv": (frame.to_csv(index=False).encode(), "text/csv"),
    }


def test_the_schema_tells_dates_texts_and_levels_and_nobodys_own_values(bundle):
    known = {feature.name: feature for feature in bundle.schema.features}

    types = {"signup": "date", "seen": "datetime", "shop": "string", "comment": "text", "amount": "double"}
    assert {name: feature.type for name, feature in known.items()} == types
    assert known["comment"].terms == tuple(sorted([*WORDS, "refund"]))
    assert len(known["shop"].categories) > 100
    document = json.loads((ROOT / "schemas/model-schema.schema.json").read_text())
    checker = jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker())
    checker.validate(bundle.schema.to_dict())


def test_the_stored_pipeline_and_the_engine_give_the_same_bits(folder, bundle, rows):
    matrix = coded_rows(rows, bundle.schema)
    seen = pd.to_datetime(rows["seen"]).dt.tz_localize(None)
    frame = rows.assign(signup=pd.to_datetime(rows["signup"]), seen=seen)

    np.testing.assert_array_equal(matrix, encode(frame, bundle.schema))
    raw = bundle.engine.predict_proba(matrix)
    np.testing.assert_array_equal(raw, bundle.pipeline.predict_proba(frame))
    proba = bundle.predict_proba(matrix)
    np.testing.assert_array_equal(proba, bundle.decision.calibrated(raw))
    assert np.mean((proba[:, 1] > 0.5) == (pd.read_csv(folder / "complaints.csv")["churn"] == "yes")) > 0.85


@pytest.mark.parametrize("server", ["lean", "mlflow"])
def test_a_server_answers_as_the_engine_does_whatever_the_form(folder, bundle, rows, server):
    port = free_port()
    few = rows.head(20)
    expected = Predictor(bundle).answer(coded_rows(few, bundle.schema)).records()
    commands = {
        "lean": ("proto_model", "serve", "-m", MODEL, "--port", str(port)),
        "mlflow": ("mlflow", "models", "serve", "-m", MODEL, "-p", str(port), "--env-manager", "local"),
    }
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    url = f"http://127.0.0.1:{port}"
    with serving(folder, server, f"{url}/health", *commands[server], **store):
        for form, (body, kind) in bodies(few).items():
            status, found = post(f"{url}/invocations", body, kind or "application/json")
            assert (status, found.get("predictions")) == (200, expected), (form, found)
        for wrong in ("05.05.2023", 19482, "2023-02-30", "2023-05-05T12:00"):
            status, said = post(f"{url}/invocations", {"dataframe_records": [ROW | {"signup": wrong}]})
            assert status == 400
            assert "a date without a time expected" in json.dumps(said)
        body = {"dataframe_records": [ROW], "params": {"explain": True}}
        _, found = post(f"{url}/invocations", body)
    explanation = found["predictions"][0]["explanation"]
    jsonschema.validate(explanation, json.loads((ROOT / "schemas/explanation.schema.json").read_text()))
    assert set(explanation["feature_importances"]) <= set(COLUMNS)
    assert 'comment contains "refund"' in explanation["rule"]["text"]
    assert {"feature": "comment", "contains": "refund"} in explanation["rule"]["premises"]
    for change in [change for found in explanation["counterfactuals"] for change in found["changes"]]:
        assert change["feature"] != "comment"
        if change["feature"] == "signup" and change["to"] is not None:
            assert "2018-01-01" < date.fromisoformat(change["to"]).isoformat() < "2025-01-01"


def test_the_mapper_takes_dates_and_texts_and_says_what_is_wrong(folder, bundle):
    port, mapper_port = free_port(), free_port()
    url, mapper = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mapper_port}"
    (expected,) = Predictor(bundle).answer(coded_rows([ROW], bundle.schema)).records()
    serve = ("proto_model", "serve", "-m", str(model_of(bundle)), "--port", str(port))
    options = ("--model-server-url", url, "--schema", str(bundle.folder / "schema.json"))
    map_them = ("mapper", "serve", *options, "--port", str(mapper_port))
    with (
        serving(folder, "server", f"{url}/health", *serve),
        serving(folder, "mapper", f"{mapper}/readyz", *map_them),
    ):
        status, answer = post(f"{mapper}/v1/predict", {"data": ROW})
        assert status == 200, answer
        assert answer["predictions"][0]["prediction"] == expected["prediction"]
        assert answer["predictions"][0]["probability"] == expected["probability"]
        assert answer["warnings"] == []

        late = ROW | {"signup": "2031-01-01"}
        _, answer = post(f"{mapper}/v1/predict", {"data": late})
        assert [warning["kind"] for warning in answer["warnings"]] == ["out_of_range"]

        wrong = ROW | {"signup": "2023-05-05T12:00", "seen": 5, "comment": None}
        status, problem = post(f"{mapper}/v1/predict", {"data": wrong})
        assert status == 422
        kinds = {error["field"]: error["kind"] for error in problem["errors"]}
        assert kinds == {"signup": "not_a_day", "seen": "wrong_type", "comment": "null_value"}

        status, answer = post(f"{mapper}/v1/explain", {"data": ROW})
        assert status == 200, answer


def test_files_are_scored_as_rows_are(folder, bundle, rows):
    expected = [record["probability_yes"] for record in predicted(bundle, rows)]
    typed = pa.table(
        {
            **{name: rows[name].tolist() for name in ("shop", "comment", "amount")},
            "signup": pa.array([(day and date.fromisoformat(day)) or None for day in rows["signup"]]),
            "seen": pa.array(list(map(datetime.fromisoformat, rows["seen"])), pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(typed, folder / "rows.parquet")
    local = str(model_of(bundle))  # the registry is asked once
    rows.to_csv(folder / "rows.csv", index=False)
    rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
    for source, model in (("rows.csv", MODEL), ("rows.jsonl", local), ("rows.parquet", local)):
        run(folder, "proto_model", "score", "--model", model, "--input", source, "--output", f"{source}.csv")
        found = pacsv.read_csv(folder / f"{source}.csv")["probability_yes"].to_pylist()
        assert found == expected, source


def predicted(bundle, rows):
    return Predictor(bundle).answer(coded_rows(rows, bundle.schema)).records()


def test_two_versions_are_compared_on_test_rows_with_dates_and_texts(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.set_registered_model_alias("complaints", "champion", "1")
    client.set_registered_model_alias("complaints", "challenger", "2")

    done = subprocess.run(
        [sys.executable, str(ROOT / "compare.py"), "--model", "complaints", "--dry-run"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert done.returncode in (0, 1), done.stderr
