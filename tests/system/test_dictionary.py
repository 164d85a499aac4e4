"""What columns mean, told by a lean server and a mapper that follow an alias."""

import contextlib
import json
import urllib.request

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.schema import ModelSchema
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from proto_model.training.dictionary import described, read_document
from tests.stores import fresh_store
from tests.system.mapper_page.pages import mapper
from tests.system.test_follow import following, until
from tests.system.test_lean_server import get, post, serving

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
COLUMNS = """
income: {description: Income <after> taxes, unit: k€, author: Data office}
sex: {decode: {1: male, 2: female}, protected: true}
granted: {description: Whether there was a loan, decode: {0: turned down, 1: granted}}
"""
ROW = {"income": 12.0, "sex": 1, "rate": 0.5}
ALIAS = "models:/people@challenger"


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Function that registers a model of people with a dictionary, as challenger; its schema and number."""
    uri = fresh_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("told", artifact_location=(tmp_path / "artifacts").as_uri())
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(3, 0.5, 200).round(1),
            "sex": rng.integers(1, 3, 200),
            "rate": rng.normal(size=200).round(3),
        }
    )
    frame["granted"] = (frame["income"] + 10 * frame["sex"] > 35).astype(int)
    table = RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False))

    def registered(columns):
        data = described(prepare(table, "granted"), read_document(columns.encode(), "columns.yaml"))
        pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10)
        with mlflow.start_run(experiment_id=experiment):
            info = log_forest_model(pipeline.fit(data.X_train, data.y_train), data)
        version = register_version(info.model_uri, "people", tags={}, alias="challenger")
        return data.schema, str(version.version)

    yield registered
    mlflow.set_tracking_uri(None)


def ask(url, path, body=None):
    request = urllib.request.Request(
        f"{url}{path}", body and json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read().decode()
    return content if path == "/docs" else json.loads(content)


def test_both_servers_tell_what_columns_mean_and_follow_a_changed_dictionary(register, tmp_path):
    before, _ = register(COLUMNS)
    with contextlib.ExitStack() as servers:
        _, port = servers.enter_context(serving(ALIAS, "--follow", "0.1"))
        url = servers.enter_context(
            mapper(f"http://127.0.0.1:{port}", tmp_path, "--schema", ALIAS, "--follow", "0.1")
        )
        lean = json.loads(get(port, "/v1/schema")[1])
        assert lean == ask(url, "/v1/schema")
        assert lean["dictionary"]["income"] == {
            "description": "Income <after> taxes", "unit": "k€", "author": "Data office"
        }  # fmt: skip
        status, answer = post(port, "/invocations", {"dataframe_records": [ROW], "params": {"explain": True}})
        (row,), (mapped,) = answer["predictions"], ask(url, "/v1/explain", {"data": ROW})["predictions"]
        assert status == 200
        assert row["explanation"]["rule"] == mapped["explanation"]["rule"]
        rule = row["explanation"]["rule"]
        assert rule["consequence"] == row["prediction"] == 0
        assert "income (k€) <= " in rule["text"]
        assert rule["text"].endswith(" THEN turned down")
        assert "Income &lt;after&gt; taxes. Unit: k€." in ask(url, "/docs")
        for document in (ask(url, "/openapi.json"), json.loads(get(port, "/openapi.json")[1])):
            assert '"x-unit": "k€"' in json.dumps(document, ensure_ascii=False)
            assert '"x-decode": {"1": "male", "2": "female"}' in json.dumps(document)

        changed = COLUMNS.replace("after>", "before>").replace("k€", "€")
        after, number = register(changed)
        until(lambda: ask(url, "/v1/schema")["dictionary"]["income"]["unit"] == "€")
        until(lambda: following(port)["worker_versions"] == [number])
        assert "problem" not in following(port)
        assert ModelSchema.from_dict(json.loads(get(port, "/v1/schema")[1])) == after
        assert after.digest == before.digest
        assert after.entry("income").description == "Income <before> taxes"
        text = ask(url, "/v1/explain", {"data": ROW})["predictions"][0]["explanation"]["rule"]["text"]
        assert "income (€)" in text
