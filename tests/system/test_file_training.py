"""Training with `file_management=true`, and then serving, scoring, explaining, promoting."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from proto_model.cli import compare
from proto_model.model import Bundle, Predictor
from proto_model.table import TrainingData, encode, load_training_data
from scripts.object_store import ObjectStore
from tests.file_servers import Server, mapping, post, serving
from tests.trainings import as_in, train_again, trained_in

pytestmark = pytest.mark.system


@dataclass
class Trained:
    """A folder with the MLflow store that a training left, and the challenger's files."""

    folder: Path
    uri: str
    client: MlflowClient
    model: Path

    def compare(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code and words of a comparison, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with as_in(self.folder, self.uri), redirect_stdout(out), redirect_stderr(err):
            code = compare.main(arguments)
        return code, out.getvalue(), err.getvalue()

    def aliased(self, alias: str, name: str = "proto_model") -> ModelVersion:
        return self.client.get_model_version_by_alias(name, alias)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    uri = trained_in(folder, "--dataset", "iris", "--file-management", "true")
    trained = Trained(folder, uri, MlflowClient(uri), folder / "model")
    with as_in(folder, uri):
        mlflow.artifacts.download_artifacts("models:/proto_model@challenger", dst_path=str(trained.model))
    return trained


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return load_training_data("iris")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data: TrainingData) -> Iterator[ObjectStore]:
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        data.X_test.head(4).to_csv(store.path("in.csv"), index=False)
        yield store


@pytest.fixture(scope="module")
def server(
    trained: Trained, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving("mlflow", trained.model, tmp_path_factory.mktemp("server"), **store.settings) as server:
        yield server


def _job(store: ObjectStore, out: str) -> dict[str, str]:
    return {
        "input_url": store.presign("get_object", "in.csv"),
        "output_url": store.presign("put_object", out),
    }


def _rows(store: ObjectStore, out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.path(out).read_text().splitlines()]


def test_each_version_says_what_it_takes(trained: Trained) -> None:
    versions = trained.client.search_model_versions("name = 'proto_model'")

    assert {version.tags["signature"] for version in versions} == {"file"}
    assert trained.aliased("challenger", "proto_model_explainer").tags["signature"] == "rows"


def test_files_are_explained_as_rows_are(trained: Trained, server: Server, store: ObjectStore) -> None:
    options = {"explain": True, "random_state": 3, "n_counterfactuals": 1}

    [plain] = server.invoke(_job(store, "plain"), output_format="jsonl")
    [explained] = server.invoke(_job(store, "explained"), output_format="jsonl", **options)

    assert (plain["status"], explained["status"]) == ("done", "done"), (plain, explained)
    rows = _rows(store, "explained")
    given = [row.pop("explanation") for row in rows]
    assert rows == _rows(store, "plain")
    predictor = Predictor(Bundle.load(trained.model / "artifacts" / "bundle"))
    matrix = encode(pd.read_csv(store.path("in.csv")), predictor.schema)
    assert given == predictor.explain(matrix, predictor.parameters(options))


def test_a_mapper_asks_for_explanations_of_files_by_the_same_route(
    trained: Trained, server: Server, store: ObjectStore, tmp_path: Path
) -> None:
    with mapping(trained.model, server.url, tmp_path) as url:
        request = {"file": _job(store, "mapped"), "parameters": {"output_format": "jsonl"}}
        status, answer = post(f"{url}/v1/explain", request)

    assert status == 200, answer
    assert answer["file"]["status"] == "done"
    assert all(row["explanation"]["rule"] for row in _rows(store, "mapped"))


def test_a_promotion_keeps_what_the_champion_takes(trained: Trained) -> None:
    code, _, err = trained.compare()
    assert code == 0, err
    champion = trained.aliased("champion")
    assert champion.tags["signature"] == "file"
    explainer = trained.aliased("champion", "proto_model_explainer")
    assert explainer.tags["explained_version"] == str(champion.version)

    train_again(trained.folder, trained.uri, "--dataset", "iris", "--random-state", "1")
    code, _, err = trained.compare()
    assert code == 2
    assert "--allow-signature-change" in err
    assert trained.aliased("champion").version == champion.version

    _, out, err = trained.compare("--allow-signature-change")
    assert json.loads(out)["verdict"] in ("promoted", "kept", "not_enough_rows"), err


def test_scores_are_those_of_the_model(trained: Trained, store: ObjectStore, server: Server) -> None:
    [summary] = server.invoke(_job(store, "scored"), output_format="csv")

    assert summary["status"] == "done"
    forest = Bundle.load(trained.model / "artifacts" / "bundle")
    expected = forest.predict_proba(encode(pd.read_csv(store.path("in.csv")), forest.schema))
    answered = pd.read_csv(store.path("scored"))[list(forest.schema.probability_columns)]
    assert answered.to_numpy().tolist() == expected.tolist()
