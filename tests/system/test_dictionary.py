"""A data dictionary, from the command that trains to both servers, which follow one that has changed."""

import contextlib
import json
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.csv
import pytest
from mlflow import MlflowClient

from proto_model.cli.train import main
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.schema import ModelSchema
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from tests.system.test_follow import following, until
from tests.system.test_lean_server import get, post, serving
from tests.system.test_mapper_page import mapper
from tests.trainings import as_in, trained_in

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
ALIAS = "models:/proto_model@challenger"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder and URI of a store with versions of a table with a dictionary."""
    folder = tmp_path_factory.mktemp("dictionary")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(3, 0.5, 200).round(1),
            "sex": rng.integers(1, 3, 200),
            "rate": rng.normal(size=200).round(3),
        }
    )
    frame["granted"] = (frame["income"] + 10 * frame["sex"] > 35).astype(int)
    frame.to_csv(folder / "people.csv", index=False)
    (folder / "columns.yaml").write_text(COLUMNS)
    files = ("--dataset", "people.csv", "--target", "granted", "--dictionary", "columns.yaml")
    return folder, trained_in(folder, *files)


def register_with_another_description(folder, uri):
    """Version with the same kind of rows, whose dictionary says something else."""
    data = prepare(RawTable("people", "people.csv", pyarrow.csv.read_csv(folder / "people.csv")), "granted")
    client = MlflowClient(uri, uri)
    told = client.get_model_version_by_alias("proto_model", "challenger")
    before = ModelSchema.read(
        Path(mlflow.artifacts.download_artifacts(f"models:/proto_model/{told.version}/mapper/schema.json"))
    )
    entries = dict(before.dictionary)
    entries["income"] = replace(entries["income"], description="Income before taxes", unit="€")
    data = replace(data, schema=data.schema.with_dictionary(entries))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=5)
    with mlflow.start_run():
        info = log_forest_model(pipeline.fit(data.X_train, data.y_train), data)
    version = register_version(info.model_uri, "proto_model", tags={})
    client.set_registered_model_alias("proto_model", "challenger", version.version)
    return before, str(version.version)


def ask(url, path, body=None):
    request = urllib.request.Request(
        f"{url}{path}", body and json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read().decode()
    return content if path == "/docs" else json.loads(content)


def test_what_columns_mean_goes_from_the_command_to_both_servers(trained, tmp_path, monkeypatch):
    folder, uri = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri, uri)
    version = client.get_model_version_by_alias("proto_model", "challenger")
    card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/model_card.md")
    assert "The dictionary describes 2 of 4 columns. Without a description: 'sex', 'rate'." in card
    assert "| income | Income &lt;after&gt; taxes | k€ |  | Data office |" in card
    assert "**The model sees sex**" in card
    assert client.get_run(version.run_id).data.params["dictionary"] == "columns.yaml"

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

        before, number = register_with_another_description(folder, uri)
        until(lambda: ask(url, "/v1/schema")["dictionary"]["income"]["unit"] == "€")
        until(lambda: following(port)["worker_versions"] == [number])
        assert "problem" not in following(port)
        after = ModelSchema.from_dict(json.loads(get(port, "/v1/schema")[1]))
        assert after.digest == before.digest
        assert after.entry("income").description == "Income before taxes"
        text = ask(url, "/v1/explain", {"data": ROW})["predictions"][0]["explanation"]["rule"]["text"]
        assert "income (€)" in text
    mlflow.set_tracking_uri(None)


def test_a_wrong_dictionary_ends_the_training_with_every_fault(trained, monkeypatch, capsys):
    folder, uri = trained
    (folder / "wrong.yaml").write_text("income: {unit: 5}\nsexx: Sex\n")
    with as_in(folder, uri):
        assert main(["--dataset", "people.csv", "--target", "granted", "--dictionary", "wrong.yaml"]) == 1

    told = capsys.readouterr().err
    assert "wrong.yaml, line 1, income.unit: 5 given, a text expected" in told
    assert "wrong.yaml, line 2, sexx: there is no such column; did you mean 'sex'?" in told
